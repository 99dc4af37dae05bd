#include "common/model/rope_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "common/model/json_fields.h"

namespace trainyard {
namespace {

using nlohmann::json;

constexpr std::pair<const char*, RopeKind> kKinds[] = {{"default", RopeKind::kDefault},
                                                       {"linear", RopeKind::kLinear},
                                                       {"dynamic", RopeKind::kDynamic},
                                                       {"yarn", RopeKind::kYarn},
                                                       {"llama3", RopeKind::kLlama3}};

StatusOr<RopeKind> KindOf(const char* key, const json& name) {
  for (const auto& [known, kind] : kKinds) {
    if (name == known) return kind;
  }
  return InvalidArgument(
      "{}.rope_type = {} is not supported; default, linear, dynamic, yarn and llama3 are", key,
      name.dump());
}

// attention_factor, or what stands for it (Peng et al. 2023, section 3.4).
Status ReadAttentionFactor(const json& fields, RopeConfig& rope) {
  const auto scale = [&](double mscale) {
    return rope.factor <= 1 ? 1.0 : 0.1 * mscale * std::log(rope.factor) + 1.0;
  };
  double mscale = 0, mscale_all_dim = 0;
  RETURN_IF_ERROR(ReadNumber(fields, "mscale", mscale));
  RETURN_IF_ERROR(ReadNumber(fields, "mscale_all_dim", mscale_all_dim));
  rope.attention_factor =
      mscale != 0 && mscale_all_dim != 0 ? scale(mscale) / scale(mscale_all_dim) : scale(1);
  return ReadNumber(fields, "attention_factor", rope.attention_factor);
}

Status ReadFields(const char* key, const json& fields, int64_t max_positions, RopeConfig& rope) {
  if (!fields.is_object()) {
    return InvalidArgument("{} must be an object, got {}", key, fields.dump());
  }
  const json kind = fields.value("rope_type", fields.value("type", json("default")));
  ASSIGN_OR_RETURN(rope.kind, KindOf(key, kind));
  RETURN_IF_ERROR(RequireValue(fields, "partial_rotary_factor", 1.0));
  RETURN_IF_ERROR(ReadNumber(fields, "rope_theta", rope.theta));
  if (rope.kind == RopeKind::kDefault) return OkStatus();
  RETURN_IF_ERROR(ReadInt(fields, "original_max_position_embeddings", rope.original_max_positions));
  if (rope.kind == RopeKind::kYarn && !IsSet(fields, "factor") && rope.original_max_positions > 0) {
    rope.factor =
        static_cast<double>(max_positions) / static_cast<double>(rope.original_max_positions);
  }
  RETURN_IF_ERROR(ReadNumber(fields, "factor", rope.factor));
  RETURN_IF_ERROR(ReadNumber(fields, "low_freq_factor", rope.low_freq_factor));
  RETURN_IF_ERROR(ReadNumber(fields, "high_freq_factor", rope.high_freq_factor));
  RETURN_IF_ERROR(ReadNumber(fields, "beta_fast", rope.beta_fast));
  RETURN_IF_ERROR(ReadNumber(fields, "beta_slow", rope.beta_slow));
  RETURN_IF_ERROR(ReadBool(fields, "truncate", rope.truncate));
  if (rope.kind == RopeKind::kYarn) RETURN_IF_ERROR(ReadAttentionFactor(fields, rope));
  const bool needs_original = rope.kind == RopeKind::kYarn || rope.kind == RopeKind::kLlama3;
  if (!(rope.factor > 0) || (needs_original && rope.original_max_positions < 1)) {
    return InvalidArgument("{} needs factor above 0{}, got {}", key,
                           needs_original ? " and original_max_position_embeddings" : "",
                           fields.dump());
  }
  if (rope.kind == RopeKind::kLlama3 &&
      !(rope.high_freq_factor > rope.low_freq_factor && rope.low_freq_factor > 0)) {
    return InvalidArgument("{}.high_freq_factor = {} must be above low_freq_factor = {}", key,
                           rope.high_freq_factor, rope.low_freq_factor);
  }
  return OkStatus();
}

template <class Real>
std::vector<Real> Llama3Frequencies(const RopeConfig& rope, std::vector<Real> frequencies) {
  const auto factor = static_cast<Real>(rope.factor);
  const auto length = static_cast<double>(rope.original_max_positions);
  const auto longest = static_cast<Real>(length / rope.low_freq_factor);
  const auto shortest = static_cast<Real>(length / rope.high_freq_factor);
  for (Real& frequency : frequencies) {
    const Real wave = static_cast<Real>(2 * std::numbers::pi) / frequency;
    if (wave > longest) {
      frequency /= factor;
    } else if (wave >= shortest) {
      const Real smooth =
          (static_cast<Real>(length) / wave - static_cast<Real>(rope.low_freq_factor)) /
          static_cast<Real>(rope.high_freq_factor - rope.low_freq_factor);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
  return frequencies;
}

// Dims that turn more than beta_fast times in the original length stay, those that turn less than
// beta_slow times are divided by the factor, in between a ramp.
template <class Real>
std::vector<Real> YarnFrequencies(const RopeConfig& rope, int64_t width,
                                  const std::vector<Real>& powers) {
  const auto dim_of = [&](double turns) {
    return static_cast<double>(width) *
           std::log(static_cast<double>(rope.original_max_positions) /
                    (turns * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  double low = dim_of(rope.beta_fast), high = dim_of(rope.beta_slow);
  if (rope.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, static_cast<double>(width - 1));
  if (low == high) high += 0.001;
  std::vector<Real> frequencies(powers.size());
  for (size_t i = 0; i < powers.size(); ++i) {
    const Real ramp =
        std::clamp((static_cast<Real>(i) - static_cast<Real>(low)) / static_cast<Real>(high - low),
                   Real{0}, Real{1});
    const Real kept = 1 - ramp;
    const Real interpolated = Real{1} / (static_cast<Real>(rope.factor) * powers[i]);
    frequencies[i] = interpolated * (1 - kept) + Real{1} / powers[i] * kept;
  }
  return frequencies;
}

}  // namespace

Status ReadRope(const json& config, const char* layers, int64_t max_positions, RopeConfig& rope) {
  RETURN_IF_ERROR(ReadNumber(config, "rope_theta", rope.theta));
  if (IsSet(config, "rope_scaling")) {
    RETURN_IF_ERROR(ReadFields("rope_scaling", config.at("rope_scaling"), max_positions, rope));
  }
  if (!IsSet(config, "rope_parameters")) return OkStatus();
  const json& parameters = config.at("rope_parameters");
  if (*layers == '\0' || !parameters.is_object() || !parameters.contains(layers)) {
    return ReadFields("rope_parameters", parameters, max_positions, rope);
  }
  const std::string key = std::string("rope_parameters.") + layers;
  return ReadFields(key.c_str(), parameters.at(layers), max_positions, rope);
}

nlohmann::ordered_json RopeParametersJson(const RopeConfig& rope) {
  nlohmann::ordered_json fields;
  for (const auto& [name, kind] : kKinds) {
    if (kind == rope.kind) fields["rope_type"] = name;
  }
  fields["rope_theta"] = rope.theta;
  if (rope.kind == RopeKind::kDefault) return fields;
  fields["factor"] = rope.factor;
  if (rope.original_max_positions > 0) {
    fields["original_max_position_embeddings"] = rope.original_max_positions;
  }
  if (rope.kind == RopeKind::kLlama3) {
    fields["low_freq_factor"] = rope.low_freq_factor;
    fields["high_freq_factor"] = rope.high_freq_factor;
  }
  if (rope.kind == RopeKind::kYarn) {
    fields["beta_fast"] = rope.beta_fast;
    fields["beta_slow"] = rope.beta_slow;
    fields["attention_factor"] = rope.attention_factor;
    if (!rope.truncate) fields["truncate"] = false;
  }
  return fields;
}

template <class Real>
std::vector<Real> RopeFrequencies(const RopeConfig& rope, int64_t width) {
  std::vector<Real> powers, frequencies;
  for (int64_t i = 0; i < width / 2; ++i) {
    const Real exponent = static_cast<Real>(2 * i) / static_cast<Real>(width / 2 * 2);
    powers.push_back(std::pow(static_cast<Real>(rope.theta), exponent));
    frequencies.push_back(Real{1} / powers.back());
  }
  switch (rope.kind) {
    case RopeKind::kLinear:
      for (Real& frequency : frequencies) frequency /= static_cast<Real>(rope.factor);
      return frequencies;
    case RopeKind::kLlama3:
      return Llama3Frequencies(rope, std::move(frequencies));
    case RopeKind::kYarn:
      return YarnFrequencies(rope, width, powers);
    case RopeKind::kDefault:
    case RopeKind::kDynamic:
      break;
  }
  return frequencies;
}

template std::vector<float> RopeFrequencies<float>(const RopeConfig&, int64_t);
template std::vector<double> RopeFrequencies<double>(const RopeConfig&, int64_t);

}  // namespace trainyard

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

StatusOr<RopeKind> KindOf(const std::string& key, const json& name) {
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

// What stands beside the object that describes a rope.
struct Outside {
  int64_t max_positions = 0;
  int64_t original_max_positions = 0;  // 0: not said
  double partial_rotary_factor = 1;
};

// An unset or zero one is the method's own.
Status ReadTurns(const json& fields, const char* key, double& turns) {
  double given = 0;
  RETURN_IF_ERROR(ReadNumber(fields, key, given));
  if (given != 0) turns = given;
  return OkStatus();
}

Status ReadOriginal(const json& fields, const Outside& outside, RopeConfig& rope) {
  rope.original_max_positions = outside.max_positions;
  RETURN_IF_ERROR(ReadInt(fields, "original_max_position_embeddings", rope.original_max_positions));
  if (outside.original_max_positions > 0)
    rope.original_max_positions = outside.original_max_positions;
  return OkStatus();
}

Status ReadYarn(const json& fields, const Outside& outside, RopeConfig& rope) {
  if (!IsSet(fields, "factor") && rope.original_max_positions > 0) {
    rope.factor = static_cast<double>(outside.max_positions) /
                  static_cast<double>(rope.original_max_positions);
  }
  RETURN_IF_ERROR(ReadTurns(fields, "beta_fast", rope.beta_fast));
  RETURN_IF_ERROR(ReadTurns(fields, "beta_slow", rope.beta_slow));
  RETURN_IF_ERROR(ReadBool(fields, "truncate", rope.truncate));
  return ReadAttentionFactor(fields, rope);
}

Status CheckStretch(const std::string& key, const json& fields, const RopeConfig& rope) {
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

Status ReadFields(const std::string& key, const json& fields, const Outside& outside,
                  RopeConfig& rope) {
  if (!fields.is_object()) {
    return InvalidArgument("{} must be an object, got {}", key, fields.dump());
  }
  for (const auto& [name, value] : fields.items()) {
    if (value.is_object()) {
      return InvalidArgument("{}.{} is an object: this model has one rope for all layers", key,
                             name);
    }
  }
  const json kind = fields.value("rope_type", fields.value("type", json("default")));
  ASSIGN_OR_RETURN(rope.kind, KindOf(key, kind));
  RETURN_IF_ERROR(ReadNumber(fields, "rope_theta", rope.theta));
  if (rope.kind == RopeKind::kDefault) return OkStatus();  // of all dims, whatever is said
  double partial = outside.partial_rotary_factor;
  RETURN_IF_ERROR(ReadNumber(fields, "partial_rotary_factor", partial));
  if (partial != 1) {
    return InvalidArgument("{}: partial_rotary_factor = {} is not supported; only 1.0 is", key,
                           partial);
  }
  RETURN_IF_ERROR(ReadNumber(fields, "factor", rope.factor));
  RETURN_IF_ERROR(ReadNumber(fields, "low_freq_factor", rope.low_freq_factor));
  RETURN_IF_ERROR(ReadNumber(fields, "high_freq_factor", rope.high_freq_factor));
  if (rope.kind == RopeKind::kYarn || rope.kind == RopeKind::kLlama3) {
    RETURN_IF_ERROR(ReadOriginal(fields, outside, rope));
  }
  if (rope.kind == RopeKind::kYarn) RETURN_IF_ERROR(ReadYarn(fields, outside, rope));
  return CheckStretch(key, fields, rope);
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

Status ReadRope(const json& config, int64_t max_positions, RopeConfig& rope) {
  RETURN_IF_ERROR(ReadNumber(config, "rope_theta", rope.theta));
  Outside outside{.max_positions = max_positions};
  RETURN_IF_ERROR(
      ReadInt(config, "original_max_position_embeddings", outside.original_max_positions));
  RETURN_IF_ERROR(ReadNumber(config, "partial_rotary_factor", outside.partial_rotary_factor));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (IsSet(config, key) && !config.at(key).empty()) {
      return ReadFields(key, config.at(key), outside, rope);
    }
  }
  return OkStatus();
}

Status ReadLayeredRope(const json& config, int64_t max_positions, RopeConfig& full,
                       RopeConfig& sliding) {
  RETURN_IF_ERROR(ReadNumber(config, "rope_theta", full.theta));
  RETURN_IF_ERROR(ReadNumber(config, "rope_local_base_freq", sliding.theta));
  const Outside outside{.max_positions = max_positions};
  json of_full = {{"rope_type", "default"}};
  for (const auto& [layers, rope] :
       {std::pair{"full_attention", &full}, {"sliding_attention", &sliding}}) {
    if (!IsSet(config, "rope_parameters")) continue;
    const json& parameters = config.at("rope_parameters");
    const std::string key = std::string("rope_parameters.") + layers;
    if (!parameters.is_object()) {
      return InvalidArgument("rope_parameters must be an object, got {}", parameters.dump());
    }
    if (!IsSet(parameters, layers)) continue;
    RETURN_IF_ERROR(ReadFields(key, parameters.at(layers), outside, *rope));
    if (rope == &full) of_full = parameters.at(layers);
  }
  if (!IsSet(config, "rope_scaling") || config.at("rope_scaling").empty()) return OkStatus();
  if (!config.at("rope_scaling").is_object()) {
    return InvalidArgument("rope_scaling must be an object, got {}",
                           config.at("rope_scaling").dump());
  }
  of_full.update(config.at("rope_scaling"));
  full = {.theta = full.theta};
  return ReadFields("rope_scaling", of_full, outside, full);
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

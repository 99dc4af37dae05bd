#include "common/plan/probe.h"

#include <algorithm>
#include <cmath>

#include "common/model/config.h"
#include "common/plan/arithmetic.h"

namespace trainyard::plan {
namespace {

// Operations of a pass; 0.05 to 0.3 s on two threads without wide registers.
constexpr double kOperationsMax = 6e9;
constexpr int64_t kTokensMax = 512, kTokensMin = 128;
// A slice has at most so many parameters, else it is made narrower: 16 bytes each while it trains.
constexpr int64_t kParametersMax = int64_t{24} << 20;
// Decoding reads each weight once a token: there must be more of them than caches hold.
constexpr int64_t kDecodingParameters = int64_t{32} << 20;
constexpr int64_t kVocabularyMin = 64;
constexpr int64_t kDecodingPrompt = 16;

ModelConfig SliceOf(const ModelConfig& whole, int64_t layers) {
  ModelConfig slice = whole;
  slice.layers = layers;
  if (!slice.attention.empty()) slice.attention.resize(static_cast<size_t>(layers));
  slice.vocab_size = std::min(
      whole.vocab_size,
      std::max(kVocabularyMin, (whole.vocab_size * layers + whole.layers - 1) / whole.layers));
  for (int32_t* id : {&slice.bos_id, &slice.eos_id, &slice.pad_id}) {
    if (*id >= slice.vocab_size) *id = -1;
  }
  return slice;
}

// Half as wide, with half the heads.
bool Halve(ModelConfig& model) {
  for (const int64_t n : {model.heads, model.kv_heads, model.hidden_size, model.mlp_width}) {
    if (n % 2 != 0) return false;
  }
  model.heads /= 2;
  model.kv_heads /= 2;
  model.hidden_size /= 2;
  model.mlp_width /= 2;
  return true;
}

double Operations(const Probe& probe) {
  return static_cast<double>(probe.tokens()) *
         OperationsPerToken(probe.model, probe.length, probe.learning, probe.recompute);
}

void CutTokens(Probe& probe) {
  probe.length = std::min(probe.length, kTokensMax);
  probe.rows = std::max<int64_t>(1, std::min(probe.rows, kTokensMax / probe.length));
  while (probe.tokens() > kTokensMin && Operations(probe) > kOperationsMax) {
    if (probe.rows > 1) {
      probe.rows = (probe.rows + 1) / 2;
    } else {
      probe.length = std::max(kTokensMin, probe.length / 2);
    }
  }
}

// The most layers of which `fits` holds, at least one.
template <class Fits>
ModelConfig DeepestSlice(const ModelConfig& model, const Fits& fits) {
  ModelConfig slice = SliceOf(model, 1);
  while (slice.layers < model.layers) {
    ModelConfig deeper = SliceOf(model, slice.layers + 1);
    if (!fits(deeper)) break;
    slice = std::move(deeper);
  }
  return slice;
}

}  // namespace

std::string_view WorkName(Work work) {
  switch (work) {
    case Work::kTraining:
      return "training";
    case Work::kReading:
      return "reading";
    case Work::kDecoding:
      return "decoding";
  }
  return "?";
}

Probe ProbeOf(const StepShape& whole, Work work) {
  Probe probe{.work = work,
              .model = {},
              .recompute = whole.recompute,
              .muon = whole.muon,
              .rows = whole.rows,
              .length = whole.length,
              .learning = LearningShare(whole.masking),
              .threads = whole.threads};
  ModelConfig model = whole.model;
  while (SliceOf(model, 1).parameter_count() > kParametersMax && Halve(model)) {
  }
  if (work == Work::kDecoding) {
    probe.length = std::min(whole.length, kDecodingPrompt);
    probe.model = DeepestSlice(model, [&](const ModelConfig& deeper) {
      return deeper.parameter_count() <= kDecodingParameters;
    });
    return probe;
  }
  probe.model = SliceOf(model, 1);
  CutTokens(probe);
  probe.model = DeepestSlice(model, [&](const ModelConfig& deeper) {
    Probe with = probe;
    with.model = deeper;
    return deeper.parameter_count() <= kParametersMax && Operations(with) <= kOperationsMax;
  });
  return probe;
}

nlohmann::ordered_json ProbeToJson(const Probe& probe) {
  static constexpr const char* kRecompute[] = {"none", "activations", "block"};
  return {{"work", WorkName(probe.work)},
          {"model", ModelConfigToJson(probe.model)},
          {"recompute", kRecompute[static_cast<int>(probe.recompute)]},
          {"muon", probe.muon},
          {"rows", probe.rows},
          {"length", probe.length},
          {"learning", probe.learning},
          {"threads", probe.threads}};
}

StatusOr<Probe> ProbeFromJson(const nlohmann::json& json) {
  const auto is = [&](const char* key, auto check) {
    return json.is_object() && json.contains(key) && check(json[key]);
  };
  const auto is_text = [](const nlohmann::json& j) { return j.is_string(); };
  const auto is_count = [](const nlohmann::json& j) {
    return j.is_number_integer() && j.get<int64_t>() > 0 && j.get<int64_t>() < (1 << 24);
  };
  const auto wants = [](std::string_view key) {
    return WithField(InvalidArgument("a probe: {} is missing, or not what it should be", key), key);
  };
  for (const char* key : {"work", "recompute"}) {
    if (!is(key, is_text)) return wants(key);
  }
  for (const char* key : {"rows", "length", "threads"}) {
    if (!is(key, is_count)) return wants(key);
  }
  if (!is("muon", [](const auto& j) { return j.is_boolean(); })) return wants("muon");
  if (!is("learning", [](const auto& j) {
        return j.is_number() && j.template get<double>() >= 0 && j.template get<double>() <= 1;
      }))
    return wants("learning");
  if (!is("model", [](const auto& j) { return j.is_object(); })) return wants("model");
  Probe probe;
  const auto name = json["work"].get<std::string>();
  const Work works[] = {Work::kTraining, Work::kReading, Work::kDecoding};
  const auto* work =
      std::find_if(std::begin(works), std::end(works), [&](Work w) { return WorkName(w) == name; });
  if (work == std::end(works)) return wants("work");
  probe.work = *work;
  ASSIGN_OR_RETURN(probe.model, ModelConfigFromJson(json["model"]));
  probe.recompute = RecomputeFromName(json["recompute"].get<std::string>());
  probe.muon = json["muon"].get<bool>();
  probe.rows = json["rows"].get<int64_t>();
  probe.length = json["length"].get<int64_t>();
  probe.learning = json["learning"].get<double>();
  probe.threads = json["threads"].get<int>();
  return probe;
}

nlohmann::ordered_json PacesToJson(const Paces& paces) {
  const auto one = [](const Pace& pace) {
    return nlohmann::ordered_json{{"pass", pace.pass}, {"update", pace.update}};
  };
  return {{"fp32", one(paces.fp32)}, {"bf16", one(paces.bf16)}};
}

StatusOr<Paces> PacesFromJson(const nlohmann::json& json) {
  const auto read = [&](const char* name, Pace& pace) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_object()) return false;
    const nlohmann::json& one = json[name];
    for (const auto& [key, value] :
         {std::pair{"pass", &pace.pass}, std::pair{"update", &pace.update}}) {
      if (!one.contains(key) || !one[key].is_number()) return false;
      *value = one[key].get<double>();
      if (!std::isfinite(*value) || *value < 0) return false;
    }
    return pace.pass > 0;
  };
  Paces paces;
  if (!read("fp32", paces.fp32) || !read("bf16", paces.bf16)) {
    return InvalidArgument("a measurement has not the seconds of both number formats");
  }
  return paces;
}

double TrainingRate(const Probe& probe, const Pace& pace, const RankShape& whole) {
  const Arithmetic a = ArithmeticOf(whole);
  const double tokens = static_cast<double>(a.micro_batches * a.tokens_per_micro_batch);
  const double passes = tokens * a.operations_per_token / Operations(probe);
  const double updates = static_cast<double>(a.parameters) /
                         static_cast<double>(std::max<int64_t>(1, probe.model.parameter_count()));
  return whole.ranks * tokens / (passes * pace.pass + updates * pace.update);
}

double ForwardRate(const Probe& probe, const Pace& pace, const StepShape& whole) {
  const double learning = LearningShare(whole.masking);
  return Operations(probe) / pace.pass /
         OperationsPerToken(whole.model, std::max<int64_t>(1, whole.length), learning,
                            whole.recompute);
}

}  // namespace trainyard::plan

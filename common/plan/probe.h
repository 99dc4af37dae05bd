// What is timed in a job's place to learn how fast it will be: a slice of its model, some of its
// layers with the same share of its vocabulary, on fewer tokens. Torch-free, so that who asks, who
// keeps the answer and who measures (worker/engine/measure_pace.h) mean the same.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/plan/memory.h"
#include "common/plan/step.h"
#include "common/status.h"

namespace trainyard::plan {

enum class Work {
  kTraining,  // forward, backward and update
  kReading,   // forward: evaluation, and the prompt of an answer
  kDecoding,  // one token of each row after the other
};
std::string_view WorkName(Work work);  // "training"

struct Probe {
  Work work = Work::kTraining;
  ModelConfig model;  // the slice
  Recompute recompute = Recompute::kNone;
  bool muon = false;
  int64_t rows = 1,
          length = 0;   // of a pass; when decoding: rows together, after a prompt of length
  double learning = 1;  // share of the places that learn
  int threads = 1;

  // Tokens that a pass brings forth.
  int64_t tokens() const { return work == Work::kDecoding ? rows : rows * length; }
};

// The slice of a whole shape. Passes take tenths of a second on two threads whatever the shape:
// tokens are cut first, then widths, by halves. What is small stays whole.
Probe ProbeOf(const StepShape& whole, Work work);

// To the program that measures, and into the key of what is kept.
nlohmann::ordered_json ProbeToJson(const Probe& probe);
// InvalidArgument names the field.
StatusOr<Probe> ProbeFromJson(const nlohmann::json& json);

// Seconds of a probe in one number format.
struct Pace {
  double pass = 0;    // forward and backward of the rows; one token of each when decoding
  double update = 0;  // training only
};
struct Paces {
  Pace fp32, bf16;
};

nlohmann::ordered_json PacesToJson(const Paces& paces);
// InvalidArgument unless every number is finite, and each pass longer than nothing.
StatusOr<Paces> PacesFromJson(const nlohmann::json& json);

// Tokens a second of the whole of which `probe` is a slice. Of training: of all ranks, were they to
// cost each other nothing.
double TrainingRate(const Probe& probe, const Pace& pace, const RankShape& whole);
double ForwardRate(const Probe& probe, const Pace& pace, const StepShape& whole);

}  // namespace trainyard::plan

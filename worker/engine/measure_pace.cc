#include "worker/engine/measure_pace.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "common/clock.h"
#include "common/machine.h"
#include "worker/engine/engine.h"
#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {
namespace {

constexpr int kTurns = 3;              // each, beside the one that warms up
constexpr double kClear = 2;           // times slower: no more turns are needed
constexpr double kSecondsMax = 1;      // of all turns: then what there is counts
constexpr int64_t kDecodedTokens = 6;  // of each row in a turn

// One engine of the probe's model and what a turn does with it.
class Subject {
 public:
  static StatusOr<Subject> Make(const plan::Probe& probe, Precision precision) {
    Subject subject(probe);
    ASSIGN_OR_RETURN(subject.engine_,
                     Engine::Create(probe.model, {.precision = precision,
                                                  .threads = probe.threads,
                                                  .recompute = probe.recompute,
                                                  .learns = probe.work == plan::Work::kTraining}));
    if (probe.work != plan::Work::kTraining) RETURN_IF_ERROR(subject.FillWeights());
    return subject;
  }

  StatusOr<plan::Pace> Turn() {
    switch (probe_.work) {
      case plan::Work::kTraining:
        return Train();
      case plan::Work::kReading:
        return Read();
      case plan::Work::kDecoding:
        return Decode();
    }
    return Internal("no such work");
  }

 private:
  explicit Subject(const plan::Probe& probe)
      : probe_(probe),
        batch_(NoiseRows(probe.rows, probe.length, probe.model.vocab_size, probe.learning)) {}

  // Pages that were never written are all one page, and as fast as a cache.
  Status FillWeights() {
    ASSIGN_OR_RETURN(const std::vector<ParameterView> parameters, engine_->Parameters());
    for (const ParameterView& parameter : parameters) {
      for (int64_t i = 0; i < parameter.count; ++i) {
        parameter.master[i] = 0.01F * static_cast<float>((i * 7919) % 101 - 50) / 50;
      }
    }
    return engine_->WeightsChanged();
  }

  double Since(absl::Duration begin) const {
    return absl::ToDoubleSeconds(clock_.Elapsed() - begin);
  }

  StatusOr<plan::Pace> Train() {
    ASSIGN_OR_RETURN(const CrossEntropy objective,
                     CrossEntropy::Over(std::max<int64_t>(1, batch_.targets())));
    plan::Pace pace;
    absl::Duration begin = clock_.Elapsed();
    RETURN_IF_ERROR(engine_->ForwardBackward(batch_, objective).status());
    pace.pass = Since(begin);
    begin = clock_.Elapsed();
    const UpdateOptions update{.optimiser = probe_.muon ? Optimiser::kMuon : Optimiser::kAdamW,
                               .learning_rate = 1e-4,
                               .max_grad_norm = 1};
    RETURN_IF_ERROR(engine_->Update(update, nullptr).status());
    pace.update = Since(begin);
    return pace;
  }

  StatusOr<plan::Pace> Read() {
    const absl::Duration begin = clock_.Elapsed();
    RETURN_IF_ERROR(engine_->Forward(batch_).status());
    return plan::Pace{.pass = Since(begin)};
  }

  // From the first token of the rows, which comes with the prompt's reading, to the last.
  StatusOr<plan::Pace> Decode() {
    std::vector<std::vector<int32_t>> prompts;
    for (int64_t row = 0; row < probe_.rows; ++row) {
      const auto begin = batch_.token_ids_T.begin() + row * probe_.length;
      prompts.emplace_back(begin, begin + probe_.length);
    }
    int64_t told = 0;
    absl::Duration begin;
    RETURN_IF_ERROR(engine_->Sample(
        prompts, {.max_new_tokens = kDecodedTokens + 1, .temperature = 0, .batch_max = probe_.rows},
        [&](const SampledToken&) {
          if (++told == probe_.rows) begin = clock_.Elapsed();
          return true;
        }));
    if (told <= probe_.rows) return Internal("the probe decoded nothing");
    return plan::Pace{.pass = Since(begin) * static_cast<double>(probe_.rows) /
                              static_cast<double>(told - probe_.rows)};
  }

  plan::Probe probe_;
  Batch batch_;
  std::unique_ptr<Engine> engine_;
  SystemClock clock_;
};

double Sum(const plan::Pace& pace) { return pace.pass + pace.update; }

plan::Pace Shorter(const plan::Pace& a, const plan::Pace& b) {
  return {.pass = std::min(a.pass, b.pass), .update = std::min(a.update, b.update)};
}

Status CheckMemory(const plan::Probe& probe) {
  // Weights, gradients and moments of both engines, and as much again for what is between them.
  const int64_t bytes = 2 * 2 * 18 * probe.model.parameter_count();
  if (bytes <= AvailableMemoryBytes()) return OkStatus();
  return ResourceExhausted("{} bytes are free, the measurement may need {}", AvailableMemoryBytes(),
                           bytes);
}

}  // namespace

Batch NoiseRows(int64_t rows, int64_t length, int64_t vocab, double learning) {
  Batch batch;
  uint32_t state = 1;
  batch.cu_seqlens.push_back(0);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < length; ++i) {
      state = state * 1664525U + 1013904223U;
      const auto id = static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(vocab));
      batch.token_ids_T.push_back(id);
      const auto place = static_cast<double>(row * length + i);
      const bool learns = std::floor((place + 1) * learning) > std::floor(place * learning);
      batch.target_ids_T.push_back(learns ? id : kNoTarget);
      batch.position_ids_T.push_back(static_cast<int32_t>(i));
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
  }
  return batch;
}

StatusOr<plan::Paces> MeasurePaces(const plan::Probe& probe) {
  RETURN_IF_ERROR(CheckMemory(probe));
  ASSIGN_OR_RETURN(Subject fp32, Subject::Make(probe, Precision::kFloat32));
  ASSIGN_OR_RETURN(Subject bf16, Subject::Make(probe, Precision::kBfloat16));
  const SystemClock clock;
  for (Subject* subject : {&fp32, &bf16}) RETURN_IF_ERROR(subject->Turn().status());
  plan::Paces best;
  const absl::Duration begin = clock.Elapsed();
  for (int turn = 0; turn < kTurns; ++turn) {
    ASSIGN_OR_RETURN(const plan::Pace f, fp32.Turn());
    ASSIGN_OR_RETURN(const plan::Pace b, bf16.Turn());
    best = turn == 0 ? plan::Paces{.fp32 = f, .bf16 = b}
                     : plan::Paces{.fp32 = Shorter(best.fp32, f), .bf16 = Shorter(best.bf16, b)};
    const double ratio = Sum(best.bf16) / Sum(best.fp32);
    if (ratio > kClear || ratio < 1 / kClear) break;
    if (absl::ToDoubleSeconds(clock.Elapsed() - begin) > kSecondsMax) break;
  }
  return best;
}

}  // namespace trainyard::worker

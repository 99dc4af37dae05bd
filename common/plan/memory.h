// The memory of one rank of a job, part by part, from the job's spec alone: a pure function. What
// it foretells is the peak of the process's resident memory beyond what it had before it loaded the
// model, on a machine whose CPU kernels are on (and, for bf16, that multiplies bfloat16).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/job_spec/job_spec.h"
#include "common/plan/meter.h"
#include "common/plan/step.h"
#include "common/status.h"

namespace trainyard::plan {

struct RankShape {
  StepShape step;
  int ranks = 1;
  int ranks_on_host = 1;      // of them, those that share a host's memory; the first is among them
  int64_t rows_per_rank = 1;  // of a step; micro-batches are cut from them
  int64_t steps = 0;
  bool evaluates = false;
  bool copies_checkpoints = false;  // the first rank: some are written beside the steps
};

// Of a resolved spec of kind pretrain, for its first rank, which needs the most. `bfloat16`: what
// train.precision comes to there. `vocab_size`: the tokenizer's, where model.config does not say.
// InvalidArgument or Unimplemented names the field.
StatusOr<RankShape> RankShapeOf(const JobSpec& spec, int64_t vocab_size, bool bfloat16);

// The same for a model that is known; of any kind of job.
RankShape RankShapeWith(const JobSpec& spec, ModelConfig model, bool bfloat16);

// The vocabulary a spec tells by itself: that of a tokenizer to be trained, which may come out
// smaller. 0: the tokenizer's file must say.
int64_t VocabularyOf(const JobSpec& spec);

struct MemoryLine {
  Part part = Part::kWeights;
  std::string what;  // "queries, keys, values"
  int64_t bytes = 0;
};
struct MemoryPlan {
  std::vector<MemoryLine> lines;  // at the moment of the peak; they add up to total_bytes
  int64_t arena_bytes = 0;        // of them, what the engine's arena comes to
  int64_t total_bytes = 0;

  int64_t BytesOf(Part part) const;
};
MemoryPlan PlanMemory(const RankShape& shape);
// All ranks of the host together; only the job's first rank copies checkpoints.
int64_t HostBytes(const RankShape& shape);

}  // namespace trainyard::plan

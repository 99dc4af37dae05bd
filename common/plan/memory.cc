#include "common/plan/memory.h"

#include <algorithm>
#include <utility>

#include "common/job_spec/fresh_model.h"

namespace trainyard::plan {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// Not planned but allowed for: pages of torch, oneDNN and MKL that a process reads the first time
// it trains, stacks of its threads, and the buffers in which MKL packs float32 products.
constexpr int64_t kLibraryBytes = 16 * kMiB;
constexpr int64_t kFloat32ProductBytes = 64 * kMiB;

// worker/parallel/segment.h: slots of two areas per rank.
constexpr int64_t kSegmentBytesPerRank = 4 * 2 * 128 * 1024;

// worker/model/transformer.cc: later places' rows are made when they come.
constexpr int64_t kRopeRowsMax = 16384;

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

}  // namespace

int64_t VocabularyOf(const JobSpec& spec) {
  return spec.tokenizer.train.has_value() ? spec.tokenizer.train->vocab_size : 0;
}

StatusOr<RankShape> RankShapeOf(const JobSpec& spec, int64_t vocab_size, bool bfloat16) {
  if (spec.kind != "pretrain" || spec.model.config.empty()) {
    return Unimplemented("a plan for jobs of kind {}{}", spec.kind,
                         spec.model.config.empty() ? " without model.config" : "");
  }
  // Special tokens cost nothing, and are the tokenizer's.
  ASSIGN_OR_RETURN(ModelConfig model, FreshModelConfig(spec, vocab_size,
                                                       {{"bos_token_id", nullptr},
                                                        {"eos_token_id", nullptr},
                                                        {"pad_token_id", nullptr}}));
  return RankShapeWith(spec, std::move(model), bfloat16);
}

RankShape RankShapeWith(const JobSpec& spec, ModelConfig model, bool bfloat16) {
  RankShape shape;
  shape.step.model = std::move(model);
  shape.step.bfloat16 = bfloat16;
  shape.step.recompute = RecomputeFromName(spec.train.recompute);
  shape.step.rows = spec.train.micro_batch_size;
  shape.step.length = spec.train.max_length;
  shape.step.threads = static_cast<int>(spec.resources.threads_per_rank);
  shape.step.muon = spec.train.optim == "muon";
  if (spec.objective == "masked") shape.step.masking = spec.masking;
  shape.ranks = static_cast<int>(spec.resources.ranks);
  shape.rows_per_rank = spec.train.global_batch_size / spec.resources.ranks;
  shape.steps = spec.train.max_steps;
  shape.evaluates = !spec.data.validation.empty();
  shape.copies_checkpoints =
      spec.checkpoint.save_steps > 0 && spec.checkpoint.save_steps < spec.train.max_steps;
  return shape;
}

int64_t MemoryPlan::BytesOf(Part part) const {
  int64_t bytes = 0;
  for (const MemoryLine& line : lines) bytes += line.part == part ? line.bytes : 0;
  return bytes;
}

MemoryPlan PlanMemory(const RankShape& shape) {
  const StepShape& step = shape.step;
  const int64_t parameters = step.model.parameter_count();
  Meter meter;
  std::vector<Meter::Held> always;
  const auto hold = [&](Part part, const char* what, int64_t bytes) {
    always.push_back(meter.Take(part, what, bytes));
  };
  // In the order in which the engine is made.
  hold(Part::kMasters, step.bfloat16 ? "float32 masters" : "float32, the weights themselves",
       4 * parameters);
  hold(Part::kGradients, "float32", 4 * parameters);
  hold(Part::kMoments, "first, float32", 4 * parameters);
  hold(Part::kMoments, "second, float32", 4 * parameters);
  if (step.bfloat16) hold(Part::kWeights, "bfloat16", 2 * parameters);
  if (step.model.family().position == PositionKind::kRope) {
    const int64_t table =
        std::min(step.model.max_positions, kRopeRowsMax) * step.model.head_width / 2 * 4;
    for (int i = 0; i < (step.model.has_local_rope() ? 4 : 2); ++i) {
      hold(Part::kWeights, "rope table", table);
    }
  }
  ReplayForwardBackward(step, meter);
  ReplayUpdate(step, meter);
  if (shape.evaluates) ReplayForward(step, meter);

  MemoryPlan plan;
  plan.arena_bytes = meter.peak();
  for (const auto& [tag, bytes] : meter.at_peak()) {
    if (bytes > 0) plan.lines.push_back({tag.part, std::string(tag.tensor), bytes});
  }
  const auto add = [&](Part part, const char* what, int64_t bytes) {
    if (bytes > 0) plan.lines.push_back({part, what, bytes});
  };
  if (shape.copies_checkpoints) {
    add(Part::kSnapshot, "copy of masters and moments", RoundUp(12 * parameters, 2 * kMiB));
  }
  if (shape.ranks > 1) add(Part::kRanks, "shared memory", kSegmentBytesPerRank * shape.ranks);
  add(Part::kData, "rows of a step", shape.rows_per_rank * step.length * 12);
  add(Part::kLibraries, "allowance", kLibraryBytes);
  if (!step.bfloat16) add(Part::kLibraries, "float32 products, allowance", kFloat32ProductBytes);
  std::stable_sort(plan.lines.begin(), plan.lines.end(),
                   [](const auto& a, const auto& b) { return a.part < b.part; });
  for (const MemoryLine& line : plan.lines) plan.total_bytes += line.bytes;
  return plan;
}

int64_t HostBytes(const RankShape& shape) {
  RankShape other = shape;
  other.copies_checkpoints = false;
  return PlanMemory(shape).total_bytes + (shape.ranks_on_host - 1) * PlanMemory(other).total_bytes;
}

}  // namespace trainyard::plan

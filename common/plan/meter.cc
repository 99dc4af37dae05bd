#include "common/plan/meter.h"

#include <algorithm>
#include <iterator>

namespace trainyard::plan {

namespace {

struct Row {
  Part part;
  std::string_view name, meaning;
};
constexpr Row kRows[] = {
    {Part::kWeights, "weights", "what products read, beside masters"},
    {Part::kMasters, "masters", "float32 weights"},
    {Part::kGradients, "gradients", "float32, summed over micro-batches"},
    {Part::kMoments, "moments", "of the optimiser, float32"},
    {Part::kActivations, "activations", "kept from forward for backward"},
    {Part::kHead, "head", "logits of a chunk of tokens"},
    {Part::kInFlight, "in flight", "results on their way between operations"},
    {Part::kScratch, "scratch", "what products and attention work in"},
    {Part::kOptimiser, "optimiser", "what an update works in"},
    {Part::kSnapshot, "checkpoint", "copy that is written beside the steps"},
    {Part::kRanks, "ranks", "shared with the other ranks"},
    {Part::kData, "data", "token ids"},
    {Part::kGaps, "gaps", "between tensors"},
    {Part::kLibraries, "libraries", "allowance for torch, oneDNN, MKL"},
};

const Row& RowOf(Part part) {
  return *std::find_if(std::begin(kRows), std::end(kRows),
                       [&](const Row& row) { return row.part == part; });
}

}  // namespace

std::string_view PartName(Part part) { return RowOf(part).name; }
std::string_view PartMeaning(Part part) { return RowOf(part).meaning; }

Meter::Held Meter::Take(Part part, std::string_view tensor, int64_t bytes) {
  if (bytes < kArenaBytesMin) return nullptr;
  const Tag tag{part, tensor};
  const int64_t before = placer_.high();
  const int64_t offset = placer_.Take(bytes);
  live_ += bytes;
  bytes_of_tag_[tag] += bytes;
  live_peak_ = std::max(live_peak_, live_);
  if (placer_.high() > before) {
    at_peak_ = bytes_of_tag_;
    at_peak_[{Part::kGaps, ""}] = placer_.high() - live_;
  }
  return Held(static_cast<void*>(nullptr), [this, tag, bytes, offset](void*) {
    placer_.Give(offset);
    live_ -= bytes;
    bytes_of_tag_[tag] -= bytes;
  });
}

}  // namespace trainyard::plan

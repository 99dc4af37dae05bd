#include "common/plan/meter.h"

#include <algorithm>

namespace trainyard::plan {

std::string_view PartName(Part part) {
  switch (part) {
    case Part::kWeights:
      return "weights";
    case Part::kMasters:
      return "masters";
    case Part::kGradients:
      return "gradients";
    case Part::kMoments:
      return "moments";
    case Part::kActivations:
      return "activations";
    case Part::kHead:
      return "head";
    case Part::kInFlight:
      return "in flight";
    case Part::kScratch:
      return "scratch";
    case Part::kOptimiser:
      return "optimiser";
    case Part::kSnapshot:
      return "checkpoint";
    case Part::kRanks:
      return "ranks";
    case Part::kData:
      return "data";
    case Part::kGaps:
      return "gaps";
    case Part::kLibraries:
      return "libraries";
  }
  return "";
}

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

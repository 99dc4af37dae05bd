// Counts bytes as a program that is replayed takes and gives back memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>

#include "common/plan/placer.h"

namespace trainyard::plan {

// What memory is for; in the order in which a plan is told.
enum class Part {
  kWeights,
  kMasters,
  kGradients,
  kMoments,
  kActivations,  // kept from forward for backward
  kHead,         // logits of a chunk
  kInFlight,     // gradients and results between operations
  kScratch,      // of products and attention
  kOptimiser,    // temporaries of an update
  kSnapshot,     // copy of a checkpoint that is being written
  kRanks,        // shared with the other ranks
  kData,         // token ids of a step
  kGaps,         // of the arena
  kLibraries,    // torch's and oneDNN's own
};
std::string_view PartName(Part part);
std::string_view PartMeaning(Part part);  // in a few words

struct Tag {
  Part part = Part::kInFlight;
  std::string_view tensor;  // a literal: "qkv"

  auto operator<=>(const Tag&) const = default;
};

// Smaller pieces are malloc's, in the engine's arena as in this count of it.
constexpr int64_t kArenaBytesMin = 32 << 10;

class Meter {
 public:
  // Memory that is given back when the last copy of its handle goes, as a tensor's is. The meter
  // outlives it.
  using Held = std::shared_ptr<void>;

  Held Take(Part part, std::string_view tensor, int64_t bytes);

  // The end of the arena when it was highest, and what it was made of: parts that were held, then
  // the gaps between them.
  int64_t peak() const { return placer_.high(); }
  const std::map<Tag, int64_t>& at_peak() const { return at_peak_; }
  int64_t live_peak() const { return live_peak_; }  // as if there were no gaps

 private:
  Placer placer_;
  int64_t live_ = 0, live_peak_ = 0;
  std::map<Tag, int64_t> bytes_of_tag_, at_peak_;
};

}  // namespace trainyard::plan

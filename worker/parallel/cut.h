// How a reduction's elements are cut up: into chunks, one after the other, and each chunk into one
// share per rank, which that rank sums.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace trainyard::worker {

struct Share {
  int64_t begin = 0;  // element
  int64_t count = 0;  // elements
};

// Shares have at most `capacity` elements and begin at multiples of a cache line.
struct Cut {
  static constexpr int64_t kLine = 16;

  int64_t count;
  int64_t ranks;
  int64_t capacity;

  // `chunk_bytes`: the most that a chunk may have.
  Cut(int64_t count, int ranks, size_t element_size, int64_t chunk_bytes)
      : count(count),
        ranks(ranks),
        capacity(chunk_bytes / ranks / static_cast<int64_t>(element_size) / kLine * kLine) {}

  int64_t chunks() const { return (count + ranks * capacity - 1) / (ranks * capacity); }
  // Equal shares, but for the last ones of the last chunk.
  Share share(int64_t chunk, int owner) const {
    const int64_t begin = chunk * ranks * capacity;
    const int64_t left = std::min(count - begin, ranks * capacity);
    const int64_t each = ((left + ranks - 1) / ranks + kLine - 1) / kLine * kLine;
    const int64_t from = std::min(left, owner * each);
    return {begin + from, std::min(left - from, each)};
  }
};

}  // namespace trainyard::worker

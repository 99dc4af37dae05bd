// One long conversation of every kind of call, for ranks of any kind.
#pragma once

#include <string>
#include <vector>

#include "common/files.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

// Rank `rank`'s input of this call: numbers of very different sizes, so that another order of
// summation gives other bits.
template <class T>
std::vector<T> InputOf(int rank, uint64_t call, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  uint64_t state = call * 64 + static_cast<uint64_t>(rank);
  for (T& value : values) {
    // splitmix64 (Steele, Lea and Flood 2014).
    uint64_t bits = state += 0x9E3779B97F4A7C15u;
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
    const T fraction = static_cast<T>(bits >> 40) / static_cast<T>(1 << 24) - static_cast<T>(0.5);
    value = fraction * static_cast<T>(1 << (bits % 20));
  }
  return values;
}

// The sum over ranks, added in rank order.
template <class T>
std::vector<T> SumOf(int ranks, uint64_t call, int64_t count) {
  std::vector<T> sum = InputOf<T>(0, call, count);
  for (int rank = 1; rank < ranks; ++rank) {
    const std::vector<T> more = InputOf<T>(rank, call, count);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
  }
  return sum;
}

template <class T>
std::string CheckAllReduce(Collective& ranks, uint64_t call, int64_t count) {
  std::vector<T> values = InputOf<T>(ranks.rank(), call, count);
  const Status status = ranks.AllReduceSum(std::span<T>(values), absl::Seconds(60));
  if (!status.ok()) return status.ToString();
  return values == SumOf<T>(ranks.size(), call, count)
             ? ""
             : fmt::format("all-reduce of {}: wrong sum", count);
}

inline std::string CheckReduceScatter(Collective& ranks, uint64_t call, int64_t count) {
  const int64_t all = count * ranks.size();
  const std::vector<float> values = InputOf<float>(ranks.rank(), call, all);
  std::vector<float> piece(static_cast<size_t>(count));
  const Status status = ranks.ReduceScatterSum(values, piece, absl::Seconds(60));
  if (!status.ok()) return status.ToString();
  const std::vector<float> sum = SumOf<float>(ranks.size(), call, all);
  const auto begin = sum.begin() + ranks.rank() * count;
  return std::equal(piece.begin(), piece.end(), begin)
             ? ""
             : fmt::format("reduce-scatter of {}: wrong sum", count);
}

inline std::string CheckAllGather(Collective& ranks, uint64_t call, int64_t count) {
  const std::vector<float> piece = InputOf<float>(ranks.rank(), call, count);
  std::vector<float> all(piece.size() * static_cast<size_t>(ranks.size()));
  const Status status = ranks.AllGather(std::as_bytes(std::span(piece)),
                                        std::as_writable_bytes(std::span(all)), absl::Seconds(60));
  if (!status.ok()) return status.ToString();
  std::vector<float> expected;
  for (int rank = 0; rank < ranks.size(); ++rank)
    for (const float value : InputOf<float>(rank, call, count)) expected.push_back(value);
  return all == expected ? "" : fmt::format("all-gather of {}: wrong bytes", count);
}

inline std::string CheckBroadcast(Collective& ranks, uint64_t call, int64_t count) {
  const int root = static_cast<int>(call) % ranks.size();
  std::vector<float> values = InputOf<float>(ranks.rank(), call, count);
  const Status status =
      ranks.Broadcast(std::as_writable_bytes(std::span(values)), root, absl::Seconds(60));
  if (!status.ok()) return status.ToString();
  return values == InputOf<float>(root, call, count)
             ? ""
             : fmt::format("broadcast of {}: wrong bytes", count);
}

// Every call at every size, back to back; empty when all was right, else the first trouble.
inline std::string Converse(Collective& ranks, const std::vector<int64_t>& sizes) {
  uint64_t call = 0;
  for (const int64_t size : sizes) {
    for (const auto& trouble :
         {CheckAllReduce<float>(ranks, call, size), CheckAllReduce<double>(ranks, call + 1, size),
          CheckReduceScatter(ranks, call + 2, size), CheckAllGather(ranks, call + 3, size),
          CheckBroadcast(ranks, call + 4, size)})
      if (!trouble.empty()) return trouble;
    call += 5;
    if (const Status status = ranks.Barrier(absl::Seconds(60)); !status.ok())
      return status.ToString();
  }
  const int64_t calls = 6 * static_cast<int64_t>(sizes.size());
  return ranks.sequence() == calls
             ? ""
             : fmt::format("{} calls counted, not {}", ranks.sequence(), calls);
}

}  // namespace trainyard::worker

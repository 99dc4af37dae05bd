#include "worker/checkpoint/read_weights.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace trainyard::worker {
namespace {

// Large enough that a piece's start costs nothing beside it, small enough that threads end
// together.
constexpr int64_t kPieceValues = int64_t{1} << 20;
constexpr int64_t kFloatBytes = sizeof(float);

struct Piece {
  const SourceTensor* tensor;
  int64_t first;
  std::span<float> values;
};

std::vector<Piece> PiecesOf(const ModelSource& source, std::span<const ParameterView> parameters) {
  std::vector<Piece> pieces;
  for (const ParameterView& view : parameters) {
    const SourceTensor* tensor = source.Find(view.name);
    const int64_t size = std::max(kPieceValues / tensor->unit, int64_t{1}) * tensor->unit;
    for (int64_t first = 0; first < view.count; first += size)
      pieces.push_back(
          {tensor,
           first,
           {view.master + first, static_cast<size_t>(std::min(size, view.count - first))}});
  }
  return pieces;
}

}  // namespace

Status ReadWeightsOf(const ModelSource& source, std::span<const ParameterView> parameters,
                     int threads, const ReadProgress& progress) {
  std::vector<NamedShape> wanted;
  for (const ParameterView& view : parameters) wanted.push_back({view.name, view.shape});
  RETURN_IF_ERROR(source.MatchTensors(wanted));
  const std::vector<Piece> pieces = PiecesOf(source, parameters);
  int64_t total_bytes = 0;
  for (const Piece& piece : pieces) total_bytes += std::ssize(piece.values) * kFloatBytes;
  std::vector<Status> done(pieces.size());
  std::atomic<size_t> next = 0;
  std::atomic<int64_t> done_bytes = 0;
  std::atomic<bool> failed = false;
  const auto read = [&](bool tells) {
    for (size_t i = next++; i < pieces.size() && !failed; i = next++) {
      done[i] = source.ReadFloats(*pieces[i].tensor, pieces[i].first, pieces[i].values);
      done_bytes += std::ssize(pieces[i].values) * kFloatBytes;
      if (tells && done[i].ok()) done[i] = progress("reading weights", done_bytes, total_bytes);
      if (!done[i].ok()) failed = true;
    }
  };
  {
    std::vector<std::jthread> others;
    const size_t count = std::min(static_cast<size_t>(std::max(threads, 1)), pieces.size());
    for (size_t i = 1; i < count; ++i) others.emplace_back(read, false);
    read(/*tells=*/static_cast<bool>(progress));
  }
  for (const Status& status : done) RETURN_IF_ERROR(status);
  return OkStatus();
}

}  // namespace trainyard::worker

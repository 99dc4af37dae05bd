// The entry points of NCCL that we use, and the few of the CUDA runtime around them, as one seam:
// OpenNcclLibrary() gives the real one, tests their own. Named after what they wrap (NVIDIA NCCL
// user guide, "API"); where NCCL's enumerations are passed, their numbers are NCCL's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/status.h"

namespace trainyard::worker {

enum NcclResult : int { kNcclSuccess = 0, kNcclInProgress = 7 };  // every other number is an error
enum class NcclType : int { kInt8 = 0, kFloat32 = 7 };
using NcclUniqueId = std::array<std::byte, 128>;

// One communicator of one GPU, whose work goes to a stream of its own. Its functions return at once
// (NCCL's non-blocking mode): kNcclInProgress means that CommGetAsyncError will say. Used by one
// thread.
class NcclLibrary {
 public:
  virtual ~NcclLibrary() = default;

  virtual int GetUniqueId(NcclUniqueId* id) = 0;
  virtual int CommInitRank(int size, const NcclUniqueId& id, int rank) = 0;
  // kNcclInProgress until what was begun last is on its way, then how that went.
  virtual int CommGetAsyncError() = 0;
  // Gives up the communicator; work on the stream ends early. Nothing is called afterwards.
  virtual void CommAbort() = 0;
  // What a result means, with NCCL's last words on it.
  virtual std::string Explain(int result) = 0;

  // Sums over ranks. Device pointers. The work begins after what the device was asked before.
  virtual int AllReduceSum(float* values, int64_t count) = 0;
  virtual int ReduceScatterSum(const float* values, float* piece, int64_t piece_count) = 0;
  virtual int AllGather(const std::byte* piece, std::byte* all, int64_t piece_count) = 0;
  virtual int Broadcast(std::byte* bytes, int64_t count, int root) = 0;

  // Whether all work begun on the stream is done; the CUDA runtime's error otherwise.
  virtual StatusOr<bool> StreamIsDone() = 0;
  virtual bool IsDeviceMemory(const void* address) = 0;
};

// FailedPrecondition in a program built without CUDA, or when the GPU gives no stream.
StatusOr<std::unique_ptr<NcclLibrary>> OpenNcclLibrary();

}  // namespace trainyard::worker

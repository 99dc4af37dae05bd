// The real one: NCCL and the CUDA runtime. Compiled with TRAINYARD_CUDA alone.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>

#include "worker/parallel/nccl_library.h"

namespace trainyard::worker {
namespace {

static_assert(sizeof(NcclUniqueId) == sizeof(ncclUniqueId));
static_assert(kNcclSuccess == static_cast<int>(ncclSuccess) &&
              kNcclInProgress == static_cast<int>(ncclInProgress));

class CudaNcclLibrary final : public NcclLibrary {
 public:
  ~CudaNcclLibrary() override {
    CommAbort();
    if (device_is_ready_ != nullptr) cudaEventDestroy(device_is_ready_);
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  Status Open() {
    cudaError_t error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
    if (error == cudaSuccess) {
      error = cudaEventCreateWithFlags(&device_is_ready_, cudaEventDisableTiming);
    }
    if (error == cudaSuccess) return OkStatus();
    return FailedPrecondition("the GPU gives no stream for NCCL: {}", cudaGetErrorString(error));
  }

  int GetUniqueId(NcclUniqueId* id) override {
    return ncclGetUniqueId(reinterpret_cast<ncclUniqueId*>(id->data()));
  }
  int CommInitRank(int size, const NcclUniqueId& id, int rank) override {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclUniqueId nccl_id;
    std::memcpy(&nccl_id, id.data(), sizeof(nccl_id));
    return ncclCommInitRankConfig(&comm_, size, nccl_id, rank, &config);
  }
  int CommGetAsyncError() override {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
    return asked == ncclSuccess ? state : asked;
  }
  void CommAbort() override {
    if (comm_ != nullptr) ncclCommAbort(comm_);
    comm_ = nullptr;
  }
  std::string Explain(int result) override {
    const auto code = static_cast<ncclResult_t>(result);
    return fmt::format("{} ({})", ncclGetErrorString(code), ncclGetLastError(comm_));
  }

  int AllReduceSum(float* values, int64_t count) override {
    return Begin([&] {
      return ncclAllReduce(values, values, Size(count), ncclFloat32, ncclSum, comm_, stream_);
    });
  }
  int ReduceScatterSum(const float* values, float* piece, int64_t piece_count) override {
    return Begin([&] {
      return ncclReduceScatter(values, piece, Size(piece_count), ncclFloat32, ncclSum, comm_,
                               stream_);
    });
  }
  int AllGather(const std::byte* piece, std::byte* all, int64_t piece_count) override {
    return Begin(
        [&] { return ncclAllGather(piece, all, Size(piece_count), ncclInt8, comm_, stream_); });
  }
  int Broadcast(std::byte* bytes, int64_t count, int root) override {
    return Begin(
        [&] { return ncclBroadcast(bytes, bytes, Size(count), ncclInt8, root, comm_, stream_); });
  }

  StatusOr<bool> StreamIsDone() override {
    const cudaError_t state = cudaStreamQuery(stream_);
    if (state == cudaSuccess) return true;
    if (state == cudaErrorNotReady) return false;
    return Internal("CUDA: {}", cudaGetErrorString(state));
  }
  bool IsDeviceMemory(const void* address) override {
    cudaPointerAttributes attributes{};
    if (cudaPointerGetAttributes(&attributes, address) != cudaSuccess) return false;
    return attributes.type == cudaMemoryTypeDevice;
  }

 private:
  static size_t Size(int64_t count) { return static_cast<size_t>(count); }

  // The legacy default stream is where ATen works; ours waits for what it was asked so far.
  template <class Call>
  int Begin(Call call) {
    if (cudaEventRecord(device_is_ready_, cudaStreamLegacy) != cudaSuccess ||
        cudaStreamWaitEvent(stream_, device_is_ready_, 0) != cudaSuccess) {
      return ncclUnhandledCudaError;
    }
    return call();
  }

  cudaStream_t stream_ = nullptr;
  cudaEvent_t device_is_ready_ = nullptr;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

StatusOr<std::unique_ptr<NcclLibrary>> OpenNcclLibrary() {
  auto library = std::make_unique<CudaNcclLibrary>();
  RETURN_IF_ERROR(library->Open());
  return library;
}

}  // namespace trainyard::worker

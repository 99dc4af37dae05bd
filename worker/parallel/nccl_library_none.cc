// In a program built without CUDA.
#include "worker/parallel/nccl_library.h"

namespace trainyard::worker {

StatusOr<std::unique_ptr<NcclLibrary>> OpenNcclLibrary() {
  return FailedPrecondition("this program was built without CUDA (-DTRAINYARD_CUDA=ON)");
}

}  // namespace trainyard::worker

#include "worker/loop/replicas.h"

#include <spdlog/spdlog.h>

#include <vector>

#include "common/crc32c.h"

namespace trainyard::worker {

Status CompareReplicas(Engine& engine, Collective* collective, absl::Duration timeout,
                       int64_t step) {
  if (collective == nullptr) return OkStatus();
  ASSIGN_OR_RETURN(const std::vector<ParameterView> parameters, engine.Parameters());
  uint32_t own = 0;
  for (const ParameterView& view : parameters) {
    own = Crc32c({reinterpret_cast<const char*>(view.master),
                  static_cast<size_t>(view.count) * sizeof(float)},
                 own);
  }
  std::vector<uint32_t> all(static_cast<size_t>(collective->size()));
  RETURN_IF_ERROR(collective->AllGather(std::as_bytes(std::span(&own, 1)),
                                        std::as_writable_bytes(std::span(all)), timeout));
  spdlog::info("step={} weights_crc32c={:08x}", step, own);
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    return Internal("after step {} the weights of rank {} are not those of rank 0 ({:08x}, {:08x})",
                    step, rank, all[rank], all[0]);
  }
  return OkStatus();
}

}  // namespace trainyard::worker

#include "worker/loop/memory_log.h"

#include <spdlog/spdlog.h>

#include <fstream>
#include <sstream>
#include <string_view>

#include "common/machine.h"
#include "common/plan/memory.h"
#include "worker/engine/memory.h"

namespace trainyard::worker {
namespace {

// Of this process, in bytes; -1: not known.
int64_t OwnStatus(std::string_view key) {
  std::ifstream file("/proc/self/status");
  std::ostringstream text;
  text << file.rdbuf();
  return MemInfoBytes(text.str(), key);
}

double MegaBytes(int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

void MemoryLog::Begin() {
  std::ofstream("/proc/self/clear_refs") << "5";  // begins VmHWM anew
  resident_before_ = OwnStatus("VmRSS");
}

void MemoryLog::Tell(const JobSpec& spec, int64_t vocab_size, bool bfloat16, int rank) const {
  auto shape = plan::RankShapeOf(spec, vocab_size, bfloat16);
  if (!shape.ok()) return;
  if (rank != 0) shape->copies_checkpoints = false;
  const plan::MemoryPlan planned = plan::PlanMemory(*shape);
  spdlog::info(
      "memory planned_mb={:.1f} peak_mb={:.1f} planned_arena_mb={:.1f} arena_mb={:.1f} "
      "resident_before_mb={:.1f}",
      MegaBytes(planned.total_bytes), MegaBytes(OwnStatus("VmHWM") - resident_before_),
      MegaBytes(planned.arena_bytes), MegaBytes(ArenaHighBytes()), MegaBytes(resident_before_));
}

}  // namespace trainyard::worker

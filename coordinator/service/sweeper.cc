#include "coordinator/service/sweeper.h"

#include <spdlog/spdlog.h>

#include <string>

namespace trainyard::coordinator {
namespace {

constexpr int64_t kGarbageAtOnce = 4;
constexpr absl::Duration kUploadsEvery = absl::Hours(1);
constexpr absl::Duration kUploadsKept = absl::Hours(24);  // time to go on with one

}  // namespace

void Sweeper::Sweep() {
  SweepUploads();
  if (taken_.value.empty()) taken_ = coordinator_.TakeGarbage(kGarbageAtOnce);
  if (store_.durable_sequence() < taken_.durable_after) return;
  for (const Garbage& garbage : taken_.value)
    if (const Status status = Delete(garbage); !status.ok())
      spdlog::warn("cannot delete old files of {}: {}", garbage.job.value, MessageOf(status));
  taken_.value.clear();
}

void Sweeper::SweepUploads() {
  if (clock_.Elapsed() < sweep_uploads_at_) return;
  sweep_uploads_at_ = clock_.Elapsed() + kUploadsEvery;
  const StatusOr<int64_t> dropped = blobs_.SweepUploads(clock_.Now() - kUploadsKept);
  if (!dropped.ok()) spdlog::warn("cannot drop old uploads: {}", MessageOf(dropped.status()));
  if (dropped.ok() && *dropped > 0) spdlog::info("dropped {} unfinished blobs", *dropped);
}

Status Sweeper::Delete(const Garbage& garbage) {
  const std::string of_job = "checkpoints/" + garbage.job.value;
  if (garbage.whole_job) {
    RETURN_IF_ERROR(blobs_.DeletePrefix(of_job));
    return history_.Delete(garbage.job);
  }
  std::vector<std::string> folders = {garbage.folder};
  if (garbage.folder.empty()) {
    ASSIGN_OR_RETURN(folders, blobs_.Folders(of_job));
  }
  for (const std::string& folder : FoldersToDelete(garbage, folders))
    RETURN_IF_ERROR(blobs_.DeletePrefix(folder));
  return OkStatus();
}

}  // namespace trainyard::coordinator

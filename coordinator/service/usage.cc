#include "coordinator/service/usage.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace trainyard::coordinator {
namespace {

constexpr absl::Duration kKept = absl::Seconds(1);

// Adds the blobs below `folder`; what is beyond `left`, which it takes from, is not counted.
Status Add(BlobStore& blobs, const std::string& folder, int64_t& left, UsageOfKind& kind,
           int64_t* bytes_of_folder = nullptr) {
  ASSIGN_OR_RETURN(const std::vector<BlobEntry> entries, blobs.List(folder));
  for (const BlobEntry& entry : entries) {
    if (left <= 0) return OkStatus();
    --left;
    ++kind.files;
    kind.bytes += entry.size;
    if (bytes_of_folder != nullptr) *bytes_of_folder += entry.size;
  }
  return OkStatus();
}

Status AddCheckpoints(BlobStore& blobs, int64_t& left, Usage& usage) {
  UsageOfKind kind{.kind = "checkpoints"};
  ASSIGN_OR_RETURN(const std::vector<std::string> jobs, blobs.Folders("checkpoints"));
  for (const std::string& folder : jobs) {
    if (left <= 0) break;
    UsageOfJob of_job{.job = {folder.substr(folder.rfind('/') + 1)}};
    ASSIGN_OR_RETURN(const std::vector<std::string> steps, blobs.Folders(folder));
    of_job.checkpoints = static_cast<int64_t>(steps.size());
    RETURN_IF_ERROR(Add(blobs, folder, left, kind, &of_job.bytes));
    if (of_job.checkpoints > 0) usage.jobs.push_back(std::move(of_job));
  }
  std::sort(usage.jobs.begin(), usage.jobs.end(), [](const UsageOfJob& a, const UsageOfJob& b) {
    return std::pair(-a.bytes, a.job) < std::pair(-b.bytes, b.job);
  });
  usage.kinds.push_back(std::move(kind));
  return OkStatus();
}

Status AddDisk(BlobStore& blobs, Usage& usage) {
  ASSIGN_OR_RETURN(const auto folder, blobs.LocalPath("checkpoints"));
  if (!folder.has_value()) return OkStatus();
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder->parent_path(), error);
  if (error)
    return ErrnoStatus(error.value(), fmt::format("cannot look at the disk of {}",
                                                  folder->parent_path().string()));
  usage.free_bytes = static_cast<int64_t>(space.available);
  usage.disk_bytes = static_cast<int64_t>(space.capacity);
  return OkStatus();
}

}  // namespace

StatusOr<Usage> MeasureUsage(BlobStore& blobs, const History& history, Store& store, absl::Time now,
                             int64_t files_max) {
  Usage usage;
  usage.time = now;
  int64_t left = files_max;
  RETURN_IF_ERROR(AddCheckpoints(blobs, left, usage));
  for (const char* folder : {"datasets", "prepared"}) {
    UsageOfKind kind{.kind = folder};
    RETURN_IF_ERROR(Add(blobs, folder, left, kind));
    usage.kinds.push_back(std::move(kind));
  }
  usage.complete = left > 0;
  ASSIGN_OR_RETURN(const HistorySize size, history.Size());
  usage.kinds.push_back({.kind = "history", .files = size.files, .bytes = size.bytes});
  ASSIGN_OR_RETURN(const int64_t database, store.SizeBytes());
  usage.kinds.push_back({.kind = "database", .files = 1, .bytes = database});
  RETURN_IF_ERROR(AddDisk(blobs, usage));
  return usage;
}

StatusOr<std::shared_ptr<const Usage>> UsageMeter::Measure() {
  absl::MutexLock measuring(&measuring_);
  {
    absl::MutexLock lock(&mu_);
    if (newest_ != nullptr && clock_.Elapsed() - measured_at_ < kKept) return newest_;
  }
  ASSIGN_OR_RETURN(Usage usage, MeasureUsage(blobs_, history_, store_, clock_.Now()));
  absl::MutexLock lock(&mu_);
  newest_ = std::make_shared<const Usage>(std::move(usage));
  measured_at_ = clock_.Elapsed();
  return newest_;
}

std::shared_ptr<const Usage> UsageMeter::newest() const {
  absl::MutexLock lock(&mu_);
  return newest_;
}

}  // namespace trainyard::coordinator

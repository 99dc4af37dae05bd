#include "coordinator/history/sync_group.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace trainyard::coordinator {

SyncGroup::SyncGroup(std::function<void(const Status&)> on_failure)
    : on_failure_(std::move(on_failure)), thread_("history-sync", [this] { Run(); }) {}

SyncGroup::~SyncGroup() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  thread_.Join();
}

void SyncGroup::Touch(File file) {
  std::set<File> too_many;
  {
    absl::MutexLock lock(&mu_);
    touched_.insert(std::move(file));
    if (touched_.size() < kMaxTouched) return;
    too_many.swap(touched_);
  }
  if (const Status status = SyncAll(too_many); !status.ok()) {
    absl::MutexLock lock(&mu_);
    failure_ = status;
  }
}

void SyncGroup::WhenSynced(std::function<void(const Status&)> done) {
  absl::MutexLock lock(&mu_);
  waiting_.push_back(std::move(done));
}

Status SyncGroup::SyncAll(const std::set<File>& files) {
  for (const File& file : files)
    if (::fdatasync(file->get()) != 0) return ErrnoStatus(errno, "cannot sync a history file");
  return OkStatus();
}

void SyncGroup::Run() {
  bool told = false;
  while (true) {
    std::set<File> files;
    std::vector<std::function<void(const Status&)>> waiting;
    Status status;
    bool last;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &SyncGroup::HasWork));
      files.swap(touched_);
      waiting.swap(waiting_);
      status = failure_;
      last = stop_;
    }
    if (status.ok()) status = SyncAll(files);
    if (!status.ok()) {
      absl::MutexLock lock(&mu_);
      failure_ = status;
    }
    if (!status.ok() && !std::exchange(told, true)) on_failure_(status);
    for (const auto& done : waiting) done(status);
    if (last) return;
  }
}

}  // namespace trainyard::coordinator

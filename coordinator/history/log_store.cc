#include "coordinator/history/log_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "common/blob_store.h"

namespace trainyard::coordinator {
namespace {

constexpr std::string_view kQuotaLine =
    "\n[trainyard: this rank has logged its quota; what follows is dropped]\n";

struct IndexEntry {
  int64_t unix_ms = 0;
  int64_t offset = 0;
};
static_assert(sizeof(IndexEntry) == 16);

// "a3-r0.log" -> {3, 0}
std::optional<std::pair<int32_t, int32_t>> ParseLogName(std::string_view name) {
  if (!name.starts_with('a') || !name.ends_with(".log")) return std::nullopt;
  int32_t attempt = 0, rank = 0;
  const char* end = name.data() + name.size();
  const auto first = std::from_chars(name.data() + 1, end, attempt);
  if (first.ec != std::errc() || !std::string_view(first.ptr, end).starts_with("-r"))
    return std::nullopt;
  const auto second = std::from_chars(first.ptr + 2, end, rank);
  if (second.ec != std::errc() || std::string_view(second.ptr, end) != ".log") return std::nullopt;
  return std::pair(attempt, rank);
}

std::filesystem::path IndexOf(std::filesystem::path log) { return log.replace_extension(".index"); }

StatusOr<int64_t> SizeOf(int fd, const std::filesystem::path& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot look at {}", path.string()));
  return static_cast<int64_t>(info.st_size);
}

}  // namespace

struct LogStore::OpenLog {
  std::filesystem::path path;
  SyncGroup::File log, index;
  absl::Mutex mu;
  int64_t size ABSL_GUARDED_BY(mu) = 0;
  bool full ABSL_GUARDED_BY(mu) = false;
  absl::Time indexed ABSL_GUARDED_BY(mu) = absl::InfinitePast();
};

LogStore::LogStore(std::filesystem::path folder, LogOptions options, SyncGroup& sync)
    : folder_(std::move(folder)), options_(options), sync_(sync) {}

StatusOr<std::filesystem::path> LogStore::PathOf(const LogKey& key) const {
  // The id comes from a worker: it must be one path segment and nothing else.
  RETURN_IF_ERROR(CheckBlobKey(key.job.value));
  if (key.job.value.find('/') != std::string::npos || key.attempt < 1 || key.rank < 0)
    return InvalidArgument("no log belongs to job {:?}, attempt {}, rank {}", key.job.value,
                           key.attempt, key.rank);
  return folder_ / key.job.value / fmt::format("a{}-r{}.log", key.attempt, key.rank);
}

StatusOr<std::shared_ptr<LogStore::OpenLog>> LogStore::OpenFiles(const LogKey& key) const {
  ASSIGN_OR_RETURN(const std::filesystem::path path, PathOf(key));
  RETURN_IF_ERROR(MakeFolders(path.parent_path()));
  auto opened = std::make_shared<OpenLog>();
  opened->path = path;
  constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd log(::open(path.c_str(), kFlags, 0600));
  UniqueFd index(::open(IndexOf(path).c_str(), kFlags | O_APPEND, 0600));
  if (!log.valid() || !index.valid())
    return ErrnoStatus(errno, fmt::format("cannot open the log {}", path.string()));
  ASSIGN_OR_RETURN(int64_t size, SizeOf(log.get(), path));
  if (size == 0) {
    RETURN_IF_ERROR(SyncPath(path.parent_path()));
    RETURN_IF_ERROR(SyncPath(folder_));
  }
  const bool full = size > options_.quota_bytes;
  // A crash may have torn the last line of a full log.
  const int64_t full_size = options_.quota_bytes + static_cast<int64_t>(kQuotaLine.size());
  if (full && size < full_size) {
    if (::pwrite(log.get(), kQuotaLine.data(), kQuotaLine.size(), options_.quota_bytes) !=
        static_cast<ssize_t>(kQuotaLine.size()))
      return ErrnoStatus(errno, fmt::format("cannot end the log {}", path.string()));
    size = full_size;
  }
  opened->log = std::make_shared<UniqueFd>(std::move(log));
  opened->index = std::make_shared<UniqueFd>(std::move(index));
  absl::MutexLock lock(&opened->mu);
  opened->size = size;
  opened->full = full;
  return opened;
}

StatusOr<std::shared_ptr<LogStore::OpenLog>> LogStore::Find(const LogKey& key) {
  absl::MutexLock lock(&mu_);
  if (const auto found = open_.find(key); found != open_.end()) {
    recent_.splice(recent_.end(), recent_, found->second);
    return found->second->second;
  }
  ASSIGN_OR_RETURN(std::shared_ptr<OpenLog> opened, OpenFiles(key));
  // Whoever still appends to a dropped one holds it, so two may never be open for one file: one in
  // use is kept and the next is tried.
  for (auto it = recent_.begin(); it != recent_.end() && recent_.size() >= options_.open_files_max;)
    if (it->second.use_count() == 1) {
      open_.erase(it->first);
      it = recent_.erase(it);
    } else {
      ++it;
    }
  open_[key] = recent_.emplace(recent_.end(), key, opened);
  return opened;
}

void LogStore::Close(const JobId& job) {
  absl::MutexLock lock(&mu_);
  std::erase_if(open_, [&](const auto& entry) { return entry.first.job == job; });
  recent_.remove_if([&](const auto& entry) { return entry.first.job == job; });
}

StatusOr<LogAppended> LogStore::Append(const LogKey& key, int64_t offset, std::string_view bytes,
                                       absl::Time now) {
  if (offset < 0) return InvalidArgument("a log chunk at offset {}", offset);
  ASSIGN_OR_RETURN(const std::shared_ptr<OpenLog> log, Find(key));
  absl::MutexLock lock(&log->mu);
  const int64_t end = offset + static_cast<int64_t>(bytes.size());
  if (log->full) return LogAppended{.end = end};
  if (offset > log->size) return LogAppended{.end = log->size, .gap = true};
  if (end <= log->size) return LogAppended{.end = log->size};
  bytes.remove_prefix(static_cast<size_t>(log->size - offset));
  log->mu.AssertHeld();
  const auto room = static_cast<size_t>(options_.quota_bytes - log->size);
  log->full = bytes.size() > room;
  const Status status =
      log->full ? WriteTo(*log, std::string(bytes.substr(0, room)) + std::string(kQuotaLine), now)
                : WriteTo(*log, bytes, now);
  if (!status.ok()) log->full = false;
  RETURN_IF_ERROR(status);
  return LogAppended{.end = end};
}

Status LogStore::WriteTo(OpenLog& log, std::string_view bytes,
                         absl::Time now) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (now - log.indexed >= absl::Seconds(1)) {
    const IndexEntry entry{absl::ToUnixMillis(now), log.size};
    char raw[sizeof(entry)];
    std::memcpy(raw, &entry, sizeof(entry));
    RETURN_IF_ERROR(WriteAll(log.index->get(), {raw, sizeof(raw)}, log.path.string()));
    log.indexed = now;
  }
  if (::lseek(log.log->get(), log.size, SEEK_SET) < 0)
    return ErrnoStatus(errno, fmt::format("cannot append to {}", log.path.string()));
  const Status status = WriteAll(log.log->get(), bytes, log.path.string());
  // What did not fit whole is taken back, so that the same chunk can be sent again.
  if (!status.ok() && ::ftruncate(log.log->get(), log.size) != 0)
    return ErrnoStatus(errno, fmt::format("cannot truncate {}", log.path.string()));
  RETURN_IF_ERROR(status);
  log.size += static_cast<int64_t>(bytes.size());
  sync_.Touch(log.log);
  return OkStatus();
}

StatusOr<std::string> LogStore::Read(const LogKey& key, int64_t offset, int64_t max_bytes) const {
  if (offset < 0 || max_bytes < 0)
    return InvalidArgument("cannot read {} bytes at {} of a log", max_bytes, offset);
  ASSIGN_OR_RETURN(const std::filesystem::path path, PathOf(key));
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return std::string();
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  ASSIGN_OR_RETURN(const int64_t size, SizeOf(fd.get(), path));
  std::string bytes(static_cast<size_t>(std::clamp<int64_t>(size - offset, 0, max_bytes)), '\0');
  const ssize_t n = ::pread(fd.get(), bytes.data(), bytes.size(), offset);
  if (n < 0) return ErrnoStatus(errno, fmt::format("cannot read {}", path.string()));
  bytes.resize(static_cast<size_t>(n));
  return bytes;
}

StatusOr<std::vector<LogEntry>> LogStore::List(const JobId& job) const {
  ASSIGN_OR_RETURN(const std::filesystem::path example, PathOf({job, 1, 0}));
  std::vector<LogEntry> entries;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(example.parent_path(), error)) {
    const auto name = ParseLogName(file.path().filename().string());
    if (!name) continue;
    std::error_code gone;
    const auto size = file.file_size(gone);
    if (!gone) entries.push_back({name->first, name->second, static_cast<int64_t>(size)});
  }
  std::sort(entries.begin(), entries.end(), [](const LogEntry& a, const LogEntry& b) {
    return std::pair(a.attempt, a.rank) < std::pair(b.attempt, b.rank);
  });
  return entries;
}

StatusOr<int64_t> LogStore::OffsetAt(const LogKey& key, absl::Time since) const {
  ASSIGN_OR_RETURN(const std::filesystem::path path, PathOf(key));
  const UniqueFd fd(::open(IndexOf(path).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return 0;
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && absl::TimeFromTimespec(info.st_mtim) < since)
    return static_cast<int64_t>(info.st_size);
  // Each entry covers what was stored until the next, so the last one at or before `since` decides.
  int64_t offset = 0, at = 0;
  std::array<IndexEntry, 512> entries;
  while (true) {
    const ssize_t n = ::pread(fd.get(), entries.data(), sizeof(entries), at);
    if (n < 0) return ErrnoStatus(errno, fmt::format("cannot read the index of {}", path.string()));
    const size_t count = static_cast<size_t>(n) / sizeof(IndexEntry);
    for (size_t i = 0; i < count; ++i) {
      if (entries[i].unix_ms > absl::ToUnixMillis(since)) return offset;
      offset = entries[i].offset;
    }
    if (count < entries.size()) return offset;
    at += n;
  }
}

}  // namespace trainyard::coordinator

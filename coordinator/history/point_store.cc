#include "coordinator/history/point_store.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <tuple>

#include "common/blob_store.h"

namespace trainyard::coordinator {
namespace {

constexpr int64_t kScanBytes = static_cast<int64_t>(kMaxBlockPayload + kBlockHeaderBytes);

StatusOr<std::string> ReadAt(int fd, int64_t offset, int64_t length,
                             const std::filesystem::path& path) {
  std::string bytes(static_cast<size_t>(length), '\0');
  const ssize_t n = ::pread(fd, bytes.data(), bytes.size(), offset);
  if (n < 0) return ErrnoStatus(errno, fmt::format("cannot read {}", path.string()));
  bytes.resize(static_cast<size_t>(n));
  return bytes;
}

// Decodes blocks from the front of `bytes`; returns how many bytes they take. Stops before a block
// that is not whole.
size_t DecodeBlocks(std::string_view bytes, std::vector<Point>* points, int64_t* damaged) {
  size_t taken = 0;
  while (taken < bytes.size()) {
    size_t size = 0;
    const BlockState state = DecodeBlock(bytes.substr(taken), &size, points);
    if (state == BlockState::kTorn) break;
    if (state == BlockState::kDamaged) ++*damaged;
    taken += size;
  }
  return taken;
}

}  // namespace

struct PointStore::OpenPoints {
  std::filesystem::path path;
  SyncGroup::File fd;
  absl::Mutex mu;
  int64_t size ABSL_GUARDED_BY(mu) = 0;
  std::map<SeriesKey, int64_t> newest ABSL_GUARDED_BY(mu);
};

PointStore::PointStore(std::filesystem::path folder, PointOptions options, SyncGroup& sync)
    : folder_(std::move(folder)), options_(options), sync_(sync) {}

StatusOr<std::filesystem::path> PointStore::PathOf(const JobId& job) const {
  RETURN_IF_ERROR(CheckBlobKey(job.value));
  if (job.value.find('/') != std::string::npos)
    return InvalidArgument("{:?} is not a job's id", job.value);
  return folder_ / job.value / "metrics.points";
}

StatusOr<std::shared_ptr<PointStore::OpenPoints>> PointStore::OpenFile(const JobId& job) const {
  ASSIGN_OR_RETURN(const std::filesystem::path path, PathOf(job));
  RETURN_IF_ERROR(MakeFolders(path.parent_path()));
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  auto opened = std::make_shared<OpenPoints>();
  opened->path = path;
  int64_t size = 0, damaged = 0, last_block = 0;
  absl::MutexLock lock(&opened->mu);
  while (true) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadAt(fd.get(), size, kScanBytes, path));
    std::vector<Point> points;
    const size_t taken = DecodeBlocks(bytes, &points, &damaged);
    for (const Point& point : points) {
      int64_t& newest = opened->newest[{point.attempt, point.rank, point.name}];
      newest = std::max(newest, point.step);
    }
    if (taken == 0) {
      last_block = static_cast<int64_t>(bytes.size());
      break;
    }
    size += static_cast<int64_t>(taken);
  }
  if (damaged > 0)
    spdlog::warn("{}: {} blocks of metric points are damaged and left out", path.string(), damaged);
  if (last_block > 0) {
    spdlog::warn("{}: the last report was torn by a crash; it ends at byte {} again", path.string(),
                 size);
    if (::ftruncate(fd.get(), size) != 0)
      return ErrnoStatus(errno, fmt::format("cannot drop the torn tail of {}", path.string()));
  }
  if (size == 0) {
    RETURN_IF_ERROR(SyncPath(path.parent_path()));
    RETURN_IF_ERROR(SyncPath(folder_));
  }
  opened->size = size;
  opened->fd = std::make_shared<UniqueFd>(std::move(fd));
  return opened;
}

StatusOr<std::shared_ptr<PointStore::OpenPoints>> PointStore::Find(const JobId& job) {
  absl::MutexLock lock(&mu_);
  if (const auto found = open_.find(job); found != open_.end()) {
    recent_.splice(recent_.end(), recent_, found->second);
    return found->second->second;
  }
  ASSIGN_OR_RETURN(std::shared_ptr<OpenPoints> opened, OpenFile(job));
  for (auto it = recent_.begin(); it != recent_.end() && recent_.size() >= options_.open_files_max;)
    if (it->second.use_count() == 1) {  // nobody appends to it, so it may be opened again later
      open_.erase(it->first);
      it = recent_.erase(it);
    } else {
      ++it;
    }
  open_[job] = recent_.emplace(recent_.end(), job, opened);
  return opened;
}

void PointStore::Close(const JobId& job) {
  absl::MutexLock lock(&mu_);
  const auto found = open_.find(job);
  if (found == open_.end()) return;
  recent_.erase(found->second);
  open_.erase(found);
}

Status PointStore::Append(const JobId& job, std::vector<Point> points) {
  for (const Point& point : points)
    if (point.name.empty() || point.name.size() > kMaxPointName)
      return InvalidArgument("a metric's name has {} bytes: it needs 1 to {}", point.name.size(),
                             kMaxPointName);
  ASSIGN_OR_RETURN(const std::shared_ptr<OpenPoints> file, Find(job));
  absl::MutexLock lock(&file->mu);
  std::vector<Point> fresh;
  std::map<SeriesKey, int64_t> grown;
  for (Point& point : points) {
    const SeriesKey key(point.attempt, point.rank, point.name);
    const auto newest = file->newest.find(key);
    if (newest != file->newest.end() && point.step <= newest->second) continue;
    const auto [in_batch, is_first] = grown.emplace(key, point.step);
    if (!is_first && point.step <= in_batch->second) continue;
    if (newest == file->newest.end() && file->newest.size() + grown.size() > options_.series_max)
      return ResourceExhausted("job {} reports more than {} series", job.value,
                               options_.series_max);
    in_batch->second = point.step;
    fresh.push_back(std::move(point));
  }
  for (size_t begin = 0; begin < fresh.size(); begin += kMaxBlockPoints) {
    const size_t end = std::min(begin + kMaxBlockPoints, fresh.size());
    RETURN_IF_ERROR(
        AppendNew(*file, {std::make_move_iterator(fresh.begin() + static_cast<ptrdiff_t>(begin)),
                          std::make_move_iterator(fresh.begin() + static_cast<ptrdiff_t>(end))}));
  }
  return OkStatus();
}

Status PointStore::AppendNew(OpenPoints& file,
                             std::vector<Point> points) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const std::string block = EncodeBlock(points);
  if (file.size + static_cast<int64_t>(block.size()) > options_.quota_bytes)
    return ResourceExhausted("{} has reached its {} bytes", file.path.string(),
                             options_.quota_bytes);
  if (::lseek(file.fd->get(), file.size, SEEK_SET) < 0)
    return ErrnoStatus(errno, fmt::format("cannot append to {}", file.path.string()));
  if (const Status status = WriteAll(file.fd->get(), block, file.path.string()); !status.ok()) {
    // Taken back, so that the same points can be sent again.
    if (::ftruncate(file.fd->get(), file.size) != 0)
      return ErrnoStatus(errno, fmt::format("cannot truncate {}", file.path.string()));
    return status;
  }
  file.size += static_cast<int64_t>(block.size());
  for (const Point& point : points)
    file.newest[{point.attempt, point.rank, point.name}] = point.step;
  sync_.Touch(file.fd);
  return OkStatus();
}

StatusOr<PointPage> PointStore::Read(const JobId& job, int64_t offset, int64_t max_bytes) const {
  if (offset < 0) return InvalidArgument("cannot read points at {}", offset);
  ASSIGN_OR_RETURN(const std::filesystem::path path, PathOf(job));
  PointPage page{.points = {}, .next_offset = offset};
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return page;
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  // A block that is being written just now looks torn and is read the next time.
  struct stat info;
  if (::fstat(fd.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot look at {}", path.string()));
  const int64_t length =
      std::clamp<int64_t>(info.st_size - offset, 0, std::max(max_bytes, kScanBytes));
  ASSIGN_OR_RETURN(const std::string bytes, ReadAt(fd.get(), offset, length, path));
  int64_t damaged = 0;
  page.next_offset += static_cast<int64_t>(DecodeBlocks(bytes, &page.points, &damaged));
  return page;
}

StatusOr<std::vector<Point>> PointStore::Newest(const JobId& job, int64_t max_bytes) const {
  ASSIGN_OR_RETURN(const std::filesystem::path path, PathOf(job));
  std::vector<Point> points;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return points;
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  struct stat info;
  if (::fstat(fd.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot look at {}", path.string()));
  const int64_t length = std::min<int64_t>(info.st_size, max_bytes);
  ASSIGN_OR_RETURN(const std::string bytes, ReadAt(fd.get(), info.st_size - length, length, path));
  // A block's checksum says where one begins.
  for (size_t at = 0, size = 0; at < bytes.size(); at += std::max<size_t>(size, 1)) {
    if (DecodeBlock(std::string_view(bytes).substr(at), &size, &points) != BlockState::kGood)
      size = 0;
  }
  return points;
}

UndoneSteps::UndoneSteps(const std::vector<std::pair<AttemptNumber, int64_t>>& resumed_from) {
  for (const auto& [attempt, unused] : resumed_from)
    for (const auto& [later, step] : resumed_from) {
      if (later <= attempt) continue;
      const int64_t last = std::max<int64_t>(step, 0);
      const auto [kept, is_new] = kept_.emplace(attempt, last);
      if (!is_new) kept->second = std::min(kept->second, last);
    }
}

bool UndoneSteps::IsUndone(AttemptNumber attempt, int64_t step) const {
  const auto kept = kept_.find(attempt);
  return kept != kept_.end() && step > kept->second;
}

bool Passes(const PointFilter& filter, const Point& point) {
  return (filter.after_step <= 0 || point.step > filter.after_step) &&
         (filter.names.empty() || filter.names.contains(point.name));
}

void Thinning::Count(const Point& point) { ++series_[point.name].count; }

bool Thinning::Keep(const Point& point) {
  if (max_points_ <= 0) return true;
  Series& series = series_[point.name];
  const int64_t i = series.asked++;
  if (max_points_ == 1 && i < series.count - 1) return false;
  // What came after the count is new and goes through.
  if (i >= series.count || series.count <= max_points_ || i == series.count - 1) return true;
  // The first point at or after each of the max_points - 1 equal parts.
  const int64_t parts = std::max<int64_t>(max_points_ - 1, 1);
  return i == 0 || i * parts / series.count != (i - 1) * parts / series.count;
}

}  // namespace trainyard::coordinator

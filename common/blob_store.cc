#include "common/blob_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <system_error>

namespace trainyard {
namespace {

constexpr char kSideFolder[] = ".side";
constexpr char kDeleted[] = "deleted-";
constexpr size_t kMaxKey = 1024;
constexpr size_t kMaxSegment = 200;
constexpr int kMaxDepth = 64;

std::vector<std::string> SegmentsOf(std::string_view key) {
  std::vector<std::string> segments;
  while (true) {
    const size_t slash = key.find('/');
    segments.emplace_back(key.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    key.remove_prefix(slash + 1);
  }
}

bool IsKeyCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

UniqueFd OpenFolderAt(int parent, const std::string& name) {
  return UniqueFd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// ELOOP and ENOTDIR mean that a key leads through a symbolic link or a file.
Status KeyError(int error, std::string_view verb, std::string_view key) {
  if (error == ELOOP || error == ENOTDIR)
    return NotFound("cannot {} blob {}: its path leads through something that is not a folder",
                    verb, key);
  return ErrnoStatus(error, fmt::format("cannot {} blob {}", verb, key));
}

std::string UploadName(const std::string& key) { return "upload-" + Sha256(key); }

// Calls `use` with each name in the folder, except "." and "..".
Status ForEachName(int folder, std::string_view key,
                   const std::function<Status(const std::string&)>& use) {
  DIR* dir = ::fdopendir(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir == nullptr) return KeyError(errno, "list", key);
  Status status;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    status = use(name);
    if (!status.ok()) break;
  }
  ::closedir(dir);
  return status;
}

Status ListBeneath(int folder, const std::string& prefix, int depth,
                   std::vector<BlobEntry>* entries) {
  if (depth > kMaxDepth) return Internal("blob folder {} is too deep to list", prefix);
  return ForEachName(folder, prefix, [&](const std::string& name) -> Status {
    if (name.starts_with('.')) return OkStatus();
    struct stat info;
    if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return errno == ENOENT ? OkStatus() : KeyError(errno, "list", prefix + name);
    if (S_ISREG(info.st_mode)) entries->push_back({prefix + name, info.st_size});
    if (!S_ISDIR(info.st_mode)) return OkStatus();
    const UniqueFd child = OpenFolderAt(folder, name);
    if (!child.valid())
      return errno == ENOENT ? OkStatus() : KeyError(errno, "list", prefix + name);
    return ListBeneath(child.get(), prefix + name + "/", depth + 1, entries);
  });
}

// SHA-256 of an open file, from its start.
StatusOr<std::string> Sha256OfFd(int fd, std::string_view key) {
  Sha256Stream stream;
  std::string piece(size_t{1} << 20, '\0');
  for (off_t offset = 0;;) {
    const ssize_t n = ::pread(fd, piece.data(), piece.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return KeyError(errno, "read", key);
    if (n == 0) return stream.Finish();
    stream.Add(std::string_view(piece.data(), static_cast<size_t>(n)));
    offset += n;
  }
}

Status Sync(int fd, std::string_view key) {
  return ::fsync(fd) == 0 ? OkStatus() : KeyError(errno, "sync", key);
}

}  // namespace

Status CheckBlobKey(std::string_view key) {
  if (key.empty() || key.size() > kMaxKey)
    return InvalidArgument("blob key of {} characters: it needs 1 to {}", key.size(), kMaxKey);
  for (const std::string& segment : SegmentsOf(key)) {
    if (segment.empty() || segment.size() > kMaxSegment || segment[0] == '.' ||
        !std::all_of(segment.begin(), segment.end(), IsKeyCharacter))
      return InvalidArgument(
          "blob key {:?}: each part between slashes must be 1 to {} of [A-Za-z0-9._-] and not "
          "begin with a dot",
          key, kMaxSegment);
  }
  return OkStatus();
}

StatusOr<std::unique_ptr<DirectoryBlobStore>> DirectoryBlobStore::Open(
    const std::filesystem::path& root) {
  RETURN_IF_ERROR(MakeFolders(root / kSideFolder));
  UniqueFd root_fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root_fd.valid())
    return ErrnoStatus(errno, fmt::format("cannot open the blob store at {}", root.string()));
  UniqueFd side_fd = OpenFolderAt(root_fd.get(), kSideFolder);
  if (!side_fd.valid())
    return ErrnoStatus(errno, fmt::format("cannot open {}/{}", root.string(), kSideFolder));
  return std::unique_ptr<DirectoryBlobStore>(
      new DirectoryBlobStore(root, std::move(root_fd), std::move(side_fd)));
}

StatusOr<DirectoryBlobStore::Place> DirectoryBlobStore::Find(const std::string& key,
                                                             bool make_folders) const {
  RETURN_IF_ERROR(CheckBlobKey(key));
  std::vector<std::string> segments = SegmentsOf(key);
  Place place{UniqueFd(::fcntl(root_fd_.get(), F_DUPFD_CLOEXEC, 0)), segments.back()};
  if (!place.folder.valid()) return KeyError(errno, "open", key);
  segments.pop_back();
  for (const std::string& segment : segments) {
    UniqueFd next = OpenFolderAt(place.folder.get(), segment);
    if (!next.valid() && errno == ENOENT && make_folders) {
      if (::mkdirat(place.folder.get(), segment.c_str(), 0700) != 0 && errno != EEXIST)
        return KeyError(errno, "make the folder of", key);
      RETURN_IF_ERROR(Sync(place.folder.get(), key));
      next = OpenFolderAt(place.folder.get(), segment);
    }
    if (!next.valid()) return KeyError(errno, "find", key);
    place.folder = std::move(next);
  }
  return place;
}

StatusOr<UniqueFd> DirectoryBlobStore::OpenBlob(const std::string& key, int64_t* size) const {
  ASSIGN_OR_RETURN(const Place place, Find(key, /*make_folders=*/false));
  // O_NONBLOCK: a named pipe somebody put there must not stop us.
  UniqueFd fd(::openat(place.folder.get(), place.name.c_str(),
                       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return KeyError(errno, "open", key);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return KeyError(errno, "open", key);
  if (!S_ISREG(info.st_mode)) return NotFound("{} is not a blob", key);
  *size = info.st_size;
  return fd;
}

Status DirectoryBlobStore::Publish(const std::string& side_name, const std::string& key) const {
  ASSIGN_OR_RETURN(const Place place, Find(key, /*make_folders=*/true));
  if (::renameat(side_fd_.get(), side_name.c_str(), place.folder.get(), place.name.c_str()) != 0)
    return KeyError(errno, "create", key);
  return Sync(place.folder.get(), key);
}

Status DirectoryBlobStore::Put(const std::string& key, std::string_view bytes) {
  RETURN_IF_ERROR(CheckBlobKey(key));
  const std::string name = "put-" + RandomHex(8);
  UniqueFd fd(
      ::openat(side_fd_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return KeyError(errno, "create", key);
  Status status = WriteAll(fd.get(), bytes, fmt::format("blob {}", key));
  if (status.ok()) status = Sync(fd.get(), key);
  if (status.ok()) status = Publish(name, key);
  if (!status.ok()) ::unlinkat(side_fd_.get(), name.c_str(), 0);
  return status;
}

Status DirectoryBlobStore::LinkToSide(const std::string& from, int from_fd,
                                      const std::string& side_name) const {
  ASSIGN_OR_RETURN(const Place place, Find(from, /*make_folders=*/false));
  if (::linkat(place.folder.get(), place.name.c_str(), side_fd_.get(), side_name.c_str(), 0) == 0)
    return OkStatus();
  // Some disks and owners do not share files: then it is copied.
  if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != EOPNOTSUPP)
    return KeyError(errno, "link", from);
  UniqueFd fd(
      ::openat(side_fd_.get(), side_name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return KeyError(errno, "copy", from);
  std::string piece(1 << 20, '\0');
  for (int64_t offset = 0;;) {
    const ssize_t n = ::pread(from_fd, piece.data(), piece.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return KeyError(errno, "read", from);
    if (n == 0) return Sync(fd.get(), from);
    RETURN_IF_ERROR(WriteAll(fd.get(), std::string_view(piece).substr(0, static_cast<size_t>(n)),
                             fmt::format("a copy of {}", from)));
    offset += n;
  }
}

Status DirectoryBlobStore::Link(const std::string& from, const std::string& to) {
  RETURN_IF_ERROR(CheckBlobKey(to));
  int64_t size = 0;
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenBlob(from, &size));
  const std::string name = "link-" + RandomHex(8);
  Status status = LinkToSide(from, fd.get(), name);
  struct stat opened, linked;
  if (status.ok() && (::fstat(fd.get(), &opened) != 0 ||
                      ::fstatat(side_fd_.get(), name.c_str(), &linked, AT_SYMLINK_NOFOLLOW) != 0))
    status = KeyError(errno, "link", from);
  // It may have been replaced meanwhile, even by what is no blob.
  if (status.ok() && (!S_ISREG(linked.st_mode) || linked.st_size != opened.st_size))
    status = Unavailable("blob {} changed while it was linked; try again", from);
  if (status.ok()) status = Publish(name, to);
  // Also after success: where `to` was this very file already, the rename did nothing.
  ::unlinkat(side_fd_.get(), name.c_str(), 0);
  return status;
}

StatusOr<int64_t> DirectoryBlobStore::UploadedBytes(const std::string& key) {
  RETURN_IF_ERROR(CheckBlobKey(key));
  struct stat info;
  if (::fstatat(side_fd_.get(), UploadName(key).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
    return static_cast<int64_t>(info.st_size);
  if (errno == ENOENT) return 0;
  return KeyError(errno, "look for the upload of", key);
}

StatusOr<UniqueFd> DirectoryBlobStore::OpenUpload(const std::string& key, int64_t* size) const {
  const std::string name = UploadName(key);
  while (true) {
    UniqueFd fd(
        ::openat(side_fd_.get(), name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd.valid() || ::flock(fd.get(), LOCK_EX) != 0)
      return KeyError(errno, "open the upload of", key);
    // Whoever held the lock before may have published or dropped this very file.
    struct stat ours, named;
    if (::fstat(fd.get(), &ours) != 0) return KeyError(errno, "open the upload of", key);
    if (::fstatat(side_fd_.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        named.st_ino != ours.st_ino)
      continue;
    *size = ours.st_size;
    return fd;
  }
}

Status DirectoryBlobStore::AppendUpload(const std::string& key, int64_t offset,
                                        std::string_view bytes) {
  RETURN_IF_ERROR(CheckBlobKey(key));
  int64_t size = 0;
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenUpload(key, &size));
  if (offset != size)
    return FailedPrecondition("the upload of {} stands at byte {}: continue there, not at {}", key,
                              size, offset);
  if (::lseek(fd.get(), offset, SEEK_SET) < 0) return KeyError(errno, "append to", key);
  Status status = WriteAll(fd.get(), bytes, fmt::format("the upload of {}", key));
  // A part that did not fit whole is taken back, so that the same part can be sent again.
  if (!status.ok() && ::ftruncate(fd.get(), size) != 0) return KeyError(errno, "truncate", key);
  return status;
}

Status DirectoryBlobStore::FinishUpload(const std::string& key, const std::string& sha256,
                                        int64_t size) {
  RETURN_IF_ERROR(CheckBlobKey(key));
  int64_t received = 0;
  ASSIGN_OR_RETURN(const UniqueFd upload, OpenUpload(key, &received));
  const std::string name = UploadName(key);
  if (received == 0 && size > 0) {
    ::unlinkat(side_fd_.get(), name.c_str(), 0);  // the empty file that OpenUpload made
    int64_t published = 0;
    const auto blob = OpenBlob(key, &published);
    if (blob.ok() && published == size) {
      ASSIGN_OR_RETURN(const std::string digest, Sha256OfFd(blob->get(), key));
      if (digest == sha256) return OkStatus();
    }
  }
  if (received < size)
    return FailedPrecondition("the upload of {} stands at byte {} of {}", key, received, size);
  ASSIGN_OR_RETURN(const std::string digest, Sha256OfFd(upload.get(), key));
  if (received != size || digest != sha256) {
    ::unlinkat(side_fd_.get(), name.c_str(), 0);
    return DataLoss(
        "the upload of {} has {} bytes with SHA-256 {}, but {} bytes with {} were promised; it was "
        "dropped: send it again",
        key, received, digest, size, sha256);
  }
  RETURN_IF_ERROR(Sync(upload.get(), key));
  return Publish(name, key);
}

StatusOr<int64_t> DirectoryBlobStore::SweepUploads(absl::Time older_than) {
  int64_t dropped = 0;
  RETURN_IF_ERROR(ForEachName(side_fd_.get(), kSideFolder, [&](const std::string& name) -> Status {
    struct stat info;
    if (::fstatat(side_fd_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return errno == ENOENT ? OkStatus() : KeyError(errno, "sweep", name);
    // What is being deleted has no use, however young it is.
    if (!name.starts_with(kDeleted) && absl::TimeFromTimespec(info.st_mtim) >= older_than)
      return OkStatus();
    std::error_code error;
    std::filesystem::remove_all(root_ / kSideFolder / name, error);
    if (error) return KeyError(error.value(), "sweep", name);
    ++dropped;
    return OkStatus();
  }));
  return dropped;
}

StatusOr<bool> DirectoryBlobStore::Exists(const std::string& key) {
  int64_t size = 0;
  const Status status = OpenBlob(key, &size).status();
  if (status.code() == StatusCode::kNotFound) return false;
  RETURN_IF_ERROR(status);
  return true;
}

StatusOr<int64_t> DirectoryBlobStore::Size(const std::string& key) {
  int64_t size = 0;
  RETURN_IF_ERROR(OpenBlob(key, &size).status());
  return size;
}

StatusOr<std::string> DirectoryBlobStore::Read(const std::string& key, int64_t offset,
                                               int64_t length) {
  if (offset < 0 || length < 0)
    return InvalidArgument("cannot read {} bytes at {} of blob {}", length, offset, key);
  int64_t size = 0;
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenBlob(key, &size));
  std::string bytes(static_cast<size_t>(std::clamp<int64_t>(size - offset, 0, length)), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pread(fd.get(), bytes.data() + done, bytes.size() - done,
                              static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return KeyError(errno, "read", key);
    if (n == 0) return DataLoss("blob {} became shorter while it was read", key);
    done += static_cast<size_t>(n);
  }
  return bytes;
}

StatusOr<std::string> DirectoryBlobStore::ReadAll(const std::string& key, int64_t max_bytes) {
  ASSIGN_OR_RETURN(const int64_t size, Size(key));
  if (size > max_bytes)
    return InvalidArgument("blob {} has {} bytes, {} are allowed here", key, size, max_bytes);
  return Read(key, 0, size);
}

// The folder of this key, to be listed; not valid when there is none.
StatusOr<UniqueFd> DirectoryBlobStore::OpenToList(const std::string& folder) const {
  const StatusOr<Place> place = Find(folder, /*make_folders=*/false);
  if (place.status().code() == StatusCode::kNotFound) return UniqueFd();
  RETURN_IF_ERROR(place.status());
  UniqueFd fd = OpenFolderAt(place->folder.get(), place->name);
  if (!fd.valid() && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
    return KeyError(errno, "list", folder);
  return fd;
}

StatusOr<std::vector<BlobEntry>> DirectoryBlobStore::List(const std::string& folder) {
  std::vector<BlobEntry> entries;
  if (folder.empty()) {
    RETURN_IF_ERROR(ListBeneath(root_fd_.get(), "", 0, &entries));
  } else {
    ASSIGN_OR_RETURN(const UniqueFd fd, OpenToList(folder));
    if (!fd.valid()) return entries;
    RETURN_IF_ERROR(ListBeneath(fd.get(), folder + "/", 0, &entries));
  }
  std::sort(entries.begin(), entries.end(),
            [](const BlobEntry& a, const BlobEntry& b) { return a.key < b.key; });
  return entries;
}

StatusOr<std::vector<std::string>> DirectoryBlobStore::Folders(const std::string& folder) {
  std::vector<std::string> keys;
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenToList(folder));
  if (!fd.valid()) return keys;
  RETURN_IF_ERROR(ForEachName(fd.get(), folder, [&](const std::string& name) -> Status {
    if (!name.starts_with('.') && OpenFolderAt(fd.get(), name).valid())
      keys.push_back(folder + "/" + name);
    return OkStatus();
  }));
  std::sort(keys.begin(), keys.end());
  return keys;
}

Status DirectoryBlobStore::Delete(const std::string& key) {
  const StatusOr<Place> place = Find(key, /*make_folders=*/false);
  if (place.status().code() == StatusCode::kNotFound) return OkStatus();
  RETURN_IF_ERROR(place.status());
  if (::unlinkat(place->folder.get(), place->name.c_str(), 0) != 0)
    return errno == ENOENT || errno == EISDIR ? OkStatus() : KeyError(errno, "delete", key);
  return Sync(place->folder.get(), key);
}

Status DirectoryBlobStore::DeletePrefix(const std::string& folder) {
  const StatusOr<Place> place = Find(folder, /*make_folders=*/false);
  if (place.status().code() == StatusCode::kNotFound) return OkStatus();
  RETURN_IF_ERROR(place.status());
  if (!OpenFolderAt(place->folder.get(), place->name).valid()) return OkStatus();
  const std::string name = kDeleted + RandomHex(8);
  if (::renameat(place->folder.get(), place->name.c_str(), side_fd_.get(), name.c_str()) != 0)
    return errno == ENOENT ? OkStatus() : KeyError(errno, "delete", folder);
  RETURN_IF_ERROR(Sync(place->folder.get(), folder));
  std::error_code error;
  std::filesystem::remove_all(root_ / kSideFolder / name, error);
  if (error) return KeyError(error.value(), "delete", folder);
  return OkStatus();
}

StatusOr<std::optional<std::filesystem::path>> DirectoryBlobStore::LocalPath(
    const std::string& key) {
  RETURN_IF_ERROR(CheckBlobKey(key));
  return root_ / key;
}

}  // namespace trainyard

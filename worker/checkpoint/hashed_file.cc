#include "worker/checkpoint/hashed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/thread.h"

namespace trainyard::worker {

// Hashes one piece at a time. The bytes must stay until Wait returns.
class HashedFile::HashThread {
 public:
  explicit HashThread(Sha256Stream* hash) : hash_(*hash), thread_("hash", [this] { Work(); }) {}
  ~HashThread() {
    absl::MutexLock lock(&mu_);
    ends_ = true;
  }
  void Begin(std::string_view bytes) {
    absl::MutexLock lock(&mu_);
    bytes_ = bytes;
  }
  void Wait() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](std::string_view* bytes) { return bytes->empty(); }, &bytes_));
  }

 private:
  bool HasWorkOrEnds() const { return !bytes_.empty() || ends_; }
  void Work() {
    for (;;) {
      std::string_view bytes;
      {
        absl::MutexLock lock(&mu_);
        mu_.Await(absl::Condition(this, &HashThread::HasWorkOrEnds));
        if (bytes_.empty()) return;
        bytes = bytes_;
      }
      hash_.Add(bytes);
      absl::MutexLock lock(&mu_);
      bytes_ = {};
    }
  }

  Sha256Stream& hash_;
  absl::Mutex mu_;
  std::string_view bytes_;  // empty: nothing to do
  bool ends_ = false;
  Thread thread_;  // joins first
};

HashedFile::HashedFile(std::filesystem::path path, UniqueFd fd, PieceWritten piece_written,
                       Hashing hashing)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      piece_written_(std::move(piece_written)),
      hash_(std::make_unique<Sha256Stream>()) {
  if (hashing == Hashing::kBeside) thread_ = std::make_unique<HashThread>(hash_.get());
}
HashedFile::HashedFile(HashedFile&&) noexcept = default;
HashedFile::~HashedFile() = default;

StatusOr<HashedFile> HashedFile::Create(const std::filesystem::path& path,
                                        PieceWritten piece_written, Hashing hashing) {
  // Who may read it is for its folder and the umask to say.
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot create {}", path.string()));
  return HashedFile(path, std::move(fd), std::move(piece_written), hashing);
}

Status HashedFile::WritePieces(std::string_view bytes) {
  // Pieces that stay in the cache between hashing and writing.
  constexpr size_t kPiece = size_t{1} << 18;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, std::min(kPiece, bytes.size()));
    if (thread_ == nullptr) hash_->Add(piece);
    RETURN_IF_ERROR(WriteAll(fd_.get(), piece, path_.string()));
    size_ += static_cast<int64_t>(piece.size());
    StartDiskWrites();
    bytes.remove_prefix(piece.size());
    if (piece_written_) RETURN_IF_ERROR(piece_written_());
  }
  return OkStatus();
}

void HashedFile::StartDiskWrites() {
  constexpr int64_t kStretch = int64_t{8} << 20;
  if (thread_ == nullptr || size_ - disk_writes_begun_ < kStretch) return;
  // Only a hint, so that the sync at the end has little left to do.
  ::sync_file_range(fd_.get(), disk_writes_begun_, size_ - disk_writes_begun_,
                    SYNC_FILE_RANGE_WRITE);
  disk_writes_begun_ = size_;
}

Status HashedFile::Write(std::string_view bytes) {
  if (thread_ != nullptr) thread_->Begin(bytes);
  const Status written = WritePieces(bytes);
  if (thread_ != nullptr) thread_->Wait();
  return written;
}

StatusOr<FileDigest> HashedFile::Finish() {
  if (::fsync(fd_.get()) != 0)
    return ErrnoStatus(errno, fmt::format("cannot sync {}", path_.string()));
  fd_.Close();
  return FileDigest{hash_->Finish(), size_};
}

}  // namespace trainyard::worker

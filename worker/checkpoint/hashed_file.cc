#include "worker/checkpoint/hashed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace trainyard::worker {

StatusOr<HashedFile> HashedFile::Create(const std::filesystem::path& path,
                                        PieceWritten piece_written) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot create {}", path.string()));
  return HashedFile(path, std::move(fd), std::move(piece_written));
}

Status HashedFile::Write(std::string_view bytes) {
  // Pieces that stay in the cache between hashing and writing.
  constexpr size_t kPiece = size_t{1} << 18;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, std::min(kPiece, bytes.size()));
    hash_->Add(piece);
    RETURN_IF_ERROR(WriteAll(fd_.get(), piece, path_.string()));
    size_ += static_cast<int64_t>(piece.size());
    bytes.remove_prefix(piece.size());
    if (piece_written_) RETURN_IF_ERROR(piece_written_());
  }
  return OkStatus();
}

StatusOr<FileDigest> HashedFile::Finish() {
  if (::fsync(fd_.get()) != 0)
    return ErrnoStatus(errno, fmt::format("cannot sync {}", path_.string()));
  fd_.Close();
  return FileDigest{hash_->Finish(), size_};
}

}  // namespace trainyard::worker

// A new file that is hashed while it is written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/files.h"
#include "common/status.h"

namespace trainyard::worker {

struct FileDigest {
  std::string sha256;
  int64_t size = 0;  // bytes
};

// Called after each piece of a file (256 KiB at most). Its error ends the writing and is returned.
using PieceWritten = std::function<Status()>;

// Where the hash is computed: beside, on a thread of its own while the same bytes are written,
// takes another CPU for a time nearer to the longer of the two.
enum class Hashing { kInTurn, kBeside };

class HashedFile {
 public:
  // The file must not exist yet. A full disk is ResourceExhausted here and in what follows.
  static StatusOr<HashedFile> Create(const std::filesystem::path& path,
                                     PieceWritten piece_written = {},
                                     Hashing hashing = Hashing::kInTurn);
  HashedFile(HashedFile&&) noexcept;
  ~HashedFile();
  Status Write(std::string_view bytes);
  int64_t size() const { return size_; }  // bytes written
  // Syncs the file to its disk; nothing may be written afterwards.
  StatusOr<FileDigest> Finish();

 private:
  class HashThread;
  HashedFile(std::filesystem::path path, UniqueFd fd, PieceWritten piece_written, Hashing hashing);
  Status WritePieces(std::string_view bytes);
  void StartDiskWrites();

  std::filesystem::path path_;
  UniqueFd fd_;
  PieceWritten piece_written_;
  std::unique_ptr<Sha256Stream> hash_;
  std::unique_ptr<HashThread> thread_;  // null: the hash is computed in turn
  int64_t size_ = 0;
  int64_t disk_writes_begun_ = 0;  // bytes that the disk was told to take
};

}  // namespace trainyard::worker

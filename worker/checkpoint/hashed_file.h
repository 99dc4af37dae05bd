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

class HashedFile {
 public:
  // The file must not exist yet. A full disk is ResourceExhausted here and in what follows.
  static StatusOr<HashedFile> Create(const std::filesystem::path& path,
                                     PieceWritten piece_written = {});
  Status Write(std::string_view bytes);
  int64_t size() const { return size_; }  // bytes written
  // Syncs the file to its disk; nothing may be written afterwards.
  StatusOr<FileDigest> Finish();

 private:
  HashedFile(std::filesystem::path path, UniqueFd fd, PieceWritten piece_written)
      : path_(std::move(path)),
        fd_(std::move(fd)),
        piece_written_(std::move(piece_written)),
        hash_(std::make_unique<Sha256Stream>()) {}

  std::filesystem::path path_;
  UniqueFd fd_;
  PieceWritten piece_written_;
  std::unique_ptr<Sha256Stream> hash_;
  int64_t size_ = 0;
};

}  // namespace trainyard::worker

// A file that is read here and there. By pread, never mapped: a file cut short meanwhile is an
// error and never a SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "common/files.h"
#include "common/status.h"

namespace trainyard::worker {

class RandomFile {
 public:
  // NotFound when it is not there, InvalidArgument when it is no regular file.
  static StatusOr<RandomFile> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }  // bytes, when it was opened
  // DataLoss when the file ends before the bytes do.
  Status ReadAt(int64_t offset, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path path_;
  UniqueFd fd_;
  int64_t size_ = 0;
};

}  // namespace trainyard::worker

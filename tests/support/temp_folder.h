// A folder of one test, gone with it.
#pragma once

#include <filesystem>

#include "common/files.h"
#include "common/require.h"

namespace trainyard {

class TempFolder {
 public:
  explicit TempFolder(const std::filesystem::path& within = std::filesystem::temp_directory_path())
      : path_(within / ("trainyard-test-" + RandomHex(8))) {
    REQUIRE(MakeFolders(path_).ok());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_;
};

// Memory, where the system has such a folder, for tests that sync often and prove nothing about
// disks.
inline std::filesystem::path FolderInMemory() {
  const std::filesystem::path shm = "/dev/shm";
  return std::filesystem::is_directory(shm) ? shm : std::filesystem::temp_directory_path();
}

}  // namespace trainyard

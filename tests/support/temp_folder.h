// A folder of one test, gone with it.
#pragma once

#include <filesystem>

#include "common/files.h"
#include "common/require.h"

namespace trainyard {

class TempFolder {
 public:
  TempFolder()
      : path_(std::filesystem::temp_directory_path() / ("trainyard-test-" + RandomHex(8))) {
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

}  // namespace trainyard

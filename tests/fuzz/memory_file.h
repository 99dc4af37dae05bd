// A file without a disk, for targets that open one.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "common/files.h"
#include "common/require.h"

namespace trainyard {

class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    REQUIRE(fd_.valid());
    for (size_t done = 0; done < size;) {
      const ssize_t n = ::write(fd_.get(), data + done, size - done);
      REQUIRE(n > 0);
      done += static_cast<size_t>(n);
    }
  }
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_.get()); }

 private:
  UniqueFd fd_;
};

}  // namespace trainyard

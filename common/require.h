// REQUIRE stops the process on a broken invariant: something only a bug can cause. What the world
// can cause (input, disks, peers) is an absl::Status instead. Named REQUIRE because c10's headers
// define CHECK.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace trainyard {

[[noreturn]] inline void RequireFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: REQUIRE failed: %s (a bug in Trainyard, please report it)\n", file,
               line, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace trainyard

#define REQUIRE(condition)                                                        \
  do {                                                                            \
    if (!(condition)) ::trainyard::RequireFailed(__FILE__, __LINE__, #condition); \
  } while (false)

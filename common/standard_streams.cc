#include "common/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace trainyard {

void HoldStandardStreams() {
  // open() takes the lowest number that is free.
  int fd = 0;
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDONLY);
  if (fd >= 0) ::close(fd);
}

Status FinishStdout() {
  const bool failed_before = std::ferror(stdout) != 0;
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (errno == EPIPE || (flushed && !failed_before)) return OkStatus();
  if (errno == 0)  // it failed while it was printed
    return ResourceExhausted(
        "cannot write to stdout (is the disk full?): what is there is not all of it");
  return ResourceExhausted("cannot write to stdout: {}", std::strerror(errno));
}

}  // namespace trainyard

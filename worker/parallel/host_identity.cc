#include "worker/parallel/host_identity.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "common/files.h"

namespace trainyard::worker {

std::string HostIdentity() {
  std::error_code bad_link, bad_self;
  const auto boot = ReadFile("/proc/sys/kernel/random/boot_id");
  const auto processes = std::filesystem::read_symlink("/proc/self/ns/pid", bad_link);
  // /proc may be the view of another namespace than this process's own.
  const auto self = std::filesystem::read_symlink("/proc/self", bad_self);
  if (!boot.ok() || bad_link || bad_self || self.string() != std::to_string(::getpid()))
    return RandomHex(16);
  const std::string all =
      fmt::format("{} {} {}", *boot, processes.string(), static_cast<int64_t>(::geteuid()));
  return Sha256(all).substr(0, 32);
}

}  // namespace trainyard::worker

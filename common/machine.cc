#include "common/machine.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace trainyard {
namespace {

std::string TextOf(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<int64_t> NumberIn(const std::filesystem::path& path) {
  const std::string text = TextOf(path);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return std::nullopt;  // "max": no limit
  return number;
}

// The folders of this process's memory cgroup and of all above it: version 2 has a line "0::/a/b"
// in /proc/self/cgroup, version 1 one like "7:memory:/a/b".
struct Cgroup {
  std::filesystem::path folder;
  const char *limit_file, *usage_file;
};
std::vector<Cgroup> OwnCgroups() {
  std::vector<Cgroup> all;
  std::istringstream lines(TextOf("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const size_t name = line.find(':') + 1, path = line.find(":/") + 1;
    if (name == 0 || path == 0) continue;
    const bool second = line.starts_with("0::");
    if (!second && line.substr(name, path - 1 - name) != "memory") continue;
    const std::filesystem::path root = second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const char* limit = second ? "memory.max" : "memory.limit_in_bytes";
    const char* usage = second ? "memory.current" : "memory.usage_in_bytes";
    const std::filesystem::path own = line.substr(path + 1);
    for (std::filesystem::path below = own;; below = below.parent_path()) {
      all.push_back({root / below, limit, usage});
      if (below.empty()) break;
    }
  }
  return all;
}

}  // namespace

int64_t MemInfoBytes(std::string_view meminfo, std::string_view key) {
  const size_t at = meminfo.find(std::string(key) + ":");
  if (at == std::string_view::npos) return -1;
  const size_t digits = meminfo.find_first_of("0123456789", at);
  if (digits == std::string_view::npos) return -1;
  int64_t kilobytes = 0;
  std::from_chars(meminfo.data() + digits, meminfo.data() + meminfo.size(), kilobytes);
  return kilobytes * 1024;
}

int64_t AvailableMemoryBytes() {
  int64_t available = std::max<int64_t>(0, MemInfoBytes(TextOf("/proc/meminfo"), "MemAvailable"));
  for (const Cgroup& cgroup : OwnCgroups()) {
    const auto limit = NumberIn(cgroup.folder / cgroup.limit_file);
    const auto used = NumberIn(cgroup.folder / cgroup.usage_file);
    if (limit && used) available = std::min(available, std::max<int64_t>(0, *limit - *used));
  }
  return available;
}

int64_t TotalMemoryBytes() {
  int64_t total = std::max<int64_t>(0, MemInfoBytes(TextOf("/proc/meminfo"), "MemTotal"));
  for (const Cgroup& cgroup : OwnCgroups()) {
    if (const auto limit = NumberIn(cgroup.folder / cgroup.limit_file)) {
      total = std::min(total, *limit);
    }
  }
  return total;
}

bool MultipliesBfloat16(std::string_view cpuinfo) {
  const size_t begin = cpuinfo.find("\nflags");
  if (begin == std::string_view::npos) return false;
  std::istringstream words(
      std::string(cpuinfo.substr(begin + 1, cpuinfo.find('\n', begin + 1) - begin - 1)));
  for (std::string word; words >> word;) {
    if (word == "avx512_bf16" || word == "amx_bf16") return true;
  }
  return false;
}

std::filesystem::path DefaultHome() {
  if (const char* home = std::getenv("TRAINYARD_HOME"); home != nullptr && *home != '\0')
    return home;
  const char* user_home = std::getenv("HOME");
  return std::filesystem::path(user_home == nullptr ? "." : user_home) / ".trainyard";
}

std::string ReadCpuInfo() { return TextOf("/proc/cpuinfo"); }

bool ThisMachineMultipliesBfloat16() { return MultipliesBfloat16(ReadCpuInfo()); }

}  // namespace trainyard

#include "common/machine.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

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

// "0::/user.slice" of /proc/self/cgroup.
std::filesystem::path OwnCgroup() {
  std::istringstream lines(TextOf("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::/")) return line.substr(4);
  }
  return {};
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
  const std::filesystem::path root = "/sys/fs/cgroup";
  std::filesystem::path folder = root / OwnCgroup();
  // Every cgroup above this one has its own limit.
  for (;; folder = folder.parent_path()) {
    const auto limit = NumberIn(folder / "memory.max");
    const auto used = NumberIn(folder / "memory.current");
    if (limit && used) available = std::min(available, std::max<int64_t>(0, *limit - *used));
    if (folder == root || folder == folder.parent_path()) return available;
  }
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

bool ThisMachineMultipliesBfloat16() { return MultipliesBfloat16(TextOf("/proc/cpuinfo")); }

}  // namespace trainyard

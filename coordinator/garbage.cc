#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "coordinator/coordinator.h"

namespace trainyard::coordinator {
namespace {

// "step-00000400-a3" -> 3
std::optional<AttemptNumber> AttemptOf(std::string_view folder) {
  const size_t mark = folder.rfind("-a");
  if (!folder.starts_with("step-") || mark == std::string_view::npos) return std::nullopt;
  const std::string_view digits = folder.substr(mark + 2);
  AttemptNumber attempt = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), attempt);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return attempt;
}

}  // namespace

std::vector<std::string> FoldersToDelete(const Garbage& garbage,
                                         const std::vector<std::string>& keys) {
  const std::string prefix = fmt::format("checkpoints/{}/", garbage.job.value);
  std::set<std::string> folders;
  for (std::string_view key : keys) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view rest = key.substr(prefix.size());
    const std::string_view folder = rest.substr(0, rest.find('/'));
    const std::string full = prefix + std::string(folder);
    const auto attempt = AttemptOf(folder);
    if (!attempt) continue;
    const bool kept =
        std::find(garbage.keep.begin(), garbage.keep.end(), full) != garbage.keep.end();
    const bool wanted = garbage.folder.empty() ? *attempt <= garbage.up_to_attempt && !kept
                                               : full == garbage.folder;
    if (wanted) folders.insert(full);
  }
  return {folders.begin(), folders.end()};
}

}  // namespace trainyard::coordinator

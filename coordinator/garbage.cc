#include <algorithm>
#include <charconv>
#include <optional>

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
                                         const std::vector<std::string>& folders) {
  const std::string prefix = fmt::format("checkpoints/{}/", garbage.job.value);
  std::vector<std::string> wanted;
  for (const std::string& folder : folders) {
    if (!folder.starts_with(prefix)) continue;
    const auto attempt = AttemptOf(std::string_view(folder).substr(prefix.size()));
    if (!attempt) continue;
    const bool kept =
        std::find(garbage.keep.begin(), garbage.keep.end(), folder) != garbage.keep.end();
    if (garbage.folder.empty() ? *attempt <= garbage.up_to_attempt && !kept
                               : folder == garbage.folder)
      wanted.push_back(folder);
  }
  return wanted;
}

}  // namespace trainyard::coordinator

#include "worker/tool/stop_strings.h"

#include <algorithm>
#include <utility>

namespace trainyard::worker {
namespace {

std::vector<std::string> WithoutEmpty(std::vector<std::string> strings) {
  std::erase_if(strings, [](const std::string& s) { return s.empty(); });
  return strings;
}

// Whether `string` may go on from the end of `text`, from `begin` on.
bool MayBeginAt(std::string_view text, size_t begin, std::string_view string) {
  const std::string_view rest = text.substr(begin);
  return rest.size() < string.size() && string.starts_with(rest);
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> strings)
    : strings_(WithoutEmpty(std::move(strings))) {}

std::string StopStrings::Feed(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  size_t end = std::string::npos;
  for (const std::string& string : strings_) end = std::min(end, held_.find(string));
  if (end != std::string::npos) {
    stopped_ = true;
    std::string shown = held_.substr(0, end);
    held_.clear();
    return shown;
  }
  size_t safe = 0;
  while (safe < held_.size() &&
         std::none_of(strings_.begin(), strings_.end(),
                      [&](const std::string& string) { return MayBeginAt(held_, safe, string); })) {
    ++safe;
  }
  std::string shown = held_.substr(0, safe);
  held_.erase(0, safe);
  return shown;
}

std::string StopStrings::Finish() { return std::exchange(held_, {}); }

}  // namespace trainyard::worker

#include "worker/tool/stop_strings.h"

#include <algorithm>
#include <cstddef>
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

std::string StopStrings::Feed(std::string_view text) { return Take(text, /*shown=*/true); }

std::string StopStrings::FeedHidden(std::string_view text) { return Take(text, /*shown=*/false); }

std::string StopStrings::Take(std::string_view text, bool shown) {
  if (stopped_) return {};
  held_ += text;
  shown_.resize(held_.size(), shown);
  size_t end = std::string::npos;
  for (const std::string& string : strings_) end = std::min(end, held_.find(string));
  if (end != std::string::npos) {
    stopped_ = true;
    return Release(end);
  }
  size_t safe = 0;
  while (safe < held_.size() &&
         std::none_of(strings_.begin(), strings_.end(),
                      [&](const std::string& string) { return MayBeginAt(held_, safe, string); })) {
    ++safe;
  }
  return Release(safe);
}

std::string StopStrings::Release(size_t bytes) {
  std::string released;
  for (size_t i = 0; i < bytes; ++i)
    if (shown_[i]) released += held_[i];
  held_.erase(0, bytes);
  shown_.erase(shown_.begin(), shown_.begin() + static_cast<std::ptrdiff_t>(bytes));
  return released;
}

std::string StopStrings::Finish() { return stopped_ ? std::string() : Release(held_.size()); }

}  // namespace trainyard::worker

// Ends a text that comes piece by piece where one of some strings begins, and holds back only what
// may still become one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trainyard::worker {

class StopStrings {
 public:
  // Empty ones never stop.
  explicit StopStrings(std::vector<std::string> strings);

  // What can be shown now that `text` has come. Nothing more once stopped.
  std::string Feed(std::string_view text);
  // The same for text that is looked at and never shown: a special token's.
  std::string FeedHidden(std::string_view text);
  // What was held back, at the text's end.
  std::string Finish();
  // Whether one of the strings has come; it and what follows it are not shown.
  bool stopped() const { return stopped_; }
  bool empty() const { return strings_.empty(); }

 private:
  std::string Take(std::string_view text, bool shown);
  // Takes the first bytes off what is held: those of them that are shown.
  std::string Release(size_t bytes);

  const std::vector<std::string> strings_;
  std::string held_;         // shorter than the longest string
  std::vector<bool> shown_;  // of each byte of it
  bool stopped_ = false;
};

}  // namespace trainyard::worker

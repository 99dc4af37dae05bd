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
  // What was held back, at the text's end.
  std::string Finish();
  // Whether one of the strings has come; it and what follows it are not shown.
  bool stopped() const { return stopped_; }

 private:
  const std::vector<std::string> strings_;
  std::string held_;  // shorter than the longest string
  bool stopped_ = false;
};

}  // namespace trainyard::worker

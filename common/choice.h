// What a job's first rank chose for all ranks and all attempts, where the spec says auto. Recorded
// with the prepared data, so that a resumed job goes on with it wherever it lands.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace trainyard {

struct Choice {
  std::string field = {};  // "train.precision"
  std::string value = {};  // as the spec could have had it
  std::string why = {};    // "measured: fp32 5123 tokens/s, bf16 2040 tokens/s"
  bool operator==(const Choice&) const = default;
};

inline constexpr size_t kChoicesMax = 16;  // of a job

// Null: nothing was chosen for the field.
inline const Choice* FindChoice(const std::vector<Choice>& choices, std::string_view field) {
  const auto found = std::find_if(choices.begin(), choices.end(),
                                  [&](const Choice& choice) { return choice.field == field; });
  return found == choices.end() ? nullptr : &*found;
}

}  // namespace trainyard

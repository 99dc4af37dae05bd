// Which process of which try: the name under which the agent knows a rank.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/ids.h"

namespace trainyard::worker {

struct RankKey {
  JobId job;
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  auto operator<=>(const RankKey&) const = default;
};

// "shakespeare-x7k2q-a3-r0": the rank's folder, and its name in messages.
std::string NameOf(const RankKey& key);

// The inverse; nothing when `name` is not one that NameOf gives.
std::optional<RankKey> ParseRankName(std::string_view name);

// A job id that may stand in a path: 1 to 128 of [A-Za-z0-9._-], not beginning with a dot.
bool IsSafeJobId(std::string_view id);

}  // namespace trainyard::worker

#include "worker/agent/rank_key.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace trainyard::worker {
namespace {

std::optional<int32_t> ParseNumber(std::string_view digits) {
  int32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 0)
    return std::nullopt;
  return number;
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

}  // namespace

std::string NameOf(const RankKey& key) {
  return fmt::format("{}-a{}-r{}", key.job.value, key.attempt, key.rank);
}

bool IsSafeJobId(std::string_view id) {
  return !id.empty() && id.size() <= 128 && id[0] != '.' &&
         std::all_of(id.begin(), id.end(), IsNameCharacter);
}

std::optional<RankKey> ParseRankName(std::string_view name) {
  const size_t rank_at = name.rfind("-r");
  if (rank_at == std::string_view::npos || rank_at == 0) return std::nullopt;
  const size_t attempt_at = name.rfind("-a", rank_at - 1);
  if (attempt_at == std::string_view::npos || attempt_at == 0) return std::nullopt;
  const auto attempt = ParseNumber(name.substr(attempt_at + 2, rank_at - attempt_at - 2));
  const auto rank = ParseNumber(name.substr(rank_at + 2));
  const std::string_view job = name.substr(0, attempt_at);
  if (!attempt || !rank || !IsSafeJobId(job)) return std::nullopt;
  const RankKey key{JobId{std::string(job)}, *attempt, *rank};
  if (NameOf(key) != name) return std::nullopt;  // leading zeros, signs
  return key;
}

}  // namespace trainyard::worker

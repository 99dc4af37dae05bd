#include "common/plan/learning.h"

#include <algorithm>
#include <cmath>

namespace trainyard::plan {

int64_t LearningPlacesMax(int64_t places, const std::optional<MaskingSpec>& masking) {
  if (!masking.has_value()) return places;
  constexpr double kDeviations = 6, kTokensOfAWord = 4;
  const double p = masking->probability, n = static_cast<double>(places);
  // Tokens that are chosen together deviate together.
  const double variance = (masking->whole_word ? kTokensOfAWord : 1) * n * p * (1 - p);
  const double most = std::ceil(n * p + kDeviations * std::sqrt(variance));
  return std::clamp<int64_t>(static_cast<int64_t>(most), 1, places);
}

double LearningShare(const std::optional<MaskingSpec>& masking) {
  return masking.has_value() ? masking->probability : 1;
}

}  // namespace trainyard::plan

#include "common/plan/number_format.h"

#include <fmt/format.h>

#include <cmath>

namespace trainyard::plan {
namespace {

constexpr double kWorthRounding = 1.02;

bool IsRate(double rate) { return std::isfinite(rate) && rate > 0; }

}  // namespace

std::string RateText(double rate) {
  return rate >= 100 ? fmt::format("{:.0f}", rate) : fmt::format("{:.3g}", rate);
}

NumberFormat ChooseNumberFormat(const Rates& rates, bool multiplies_bfloat16,
                                const std::string& unmeasured) {
  if (!IsRate(rates.fp32) || !IsRate(rates.bf16)) {
    return {.bfloat16 = multiplies_bfloat16,
            .why = fmt::format("not measured ({}): the processor {} bf16 products", unmeasured,
                               multiplies_bfloat16 ? "has" : "has no")};
  }
  return {.bfloat16 = rates.bf16 > kWorthRounding * rates.fp32,
          .why = fmt::format("measured: fp32 {} tokens/s, bf16 {} tokens/s", RateText(rates.fp32),
                             RateText(rates.bf16))};
}

}  // namespace trainyard::plan

// What train.precision: auto comes to: of two measured rates the better one.
#pragma once

#include <optional>
#include <string>

namespace trainyard::plan {

// Tokens a second; 0: not measured.
struct Rates {
  double fp32 = 0, bf16 = 0;
};

struct NumberFormat {
  bool bfloat16 = false;
  std::string why;  // "measured: fp32 5123 tokens/s, bf16 2040"
};

// bf16 must be faster by 2 % to be worth its rounding. Without both rates the processor's flags
// decide (`multiplies_bfloat16`), as they did before anything was measured; `unmeasured` says why
// there are none.
NumberFormat ChooseNumberFormat(const Rates& rates, bool multiplies_bfloat16,
                                const std::string& unmeasured);

// "1234", "56.7", "0.42"
std::string RateText(double rate);

}  // namespace trainyard::plan

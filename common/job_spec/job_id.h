// A job's id: its name plus a short suffix, "shakespeare-x7k2q".
#pragma once

#include <cstdint>
#include <string_view>

#include "common/ids.h"

namespace trainyard {

// The suffix is 5 letters of Crockford's base 32 (digits and letters without i, l, o, u) from the
// lowest 25 of `random_bits`: whoever keeps the jobs draws again when the id is taken.
JobId MakeJobId(std::string_view name, uint64_t random_bits);
// The same with bits from the operating system.
JobId RandomJobId(std::string_view name);

}  // namespace trainyard

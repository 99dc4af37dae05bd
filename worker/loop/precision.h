// Which number format a rank computes in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/choice.h"
#include "common/status.h"
#include "worker/engine/engine.h"

namespace trainyard::worker {

inline constexpr char kPrecisionField[] = "train.precision";

// `name`: fp32 | bf16 | auto, as in train.precision. "auto" is bf16 on a GPU; on a CPU it is what
// was chosen for the job (job_precision.h), and of a job whose record is older than choices what
// its processor's flags say (`multiplies_bfloat16`), as then. InvalidArgument for any other name,
// Internal for a choice that is none.
StatusOr<Precision> ResolvePrecision(const std::string& name, Device device,
                                     const std::vector<Choice>& choices, bool multiplies_bfloat16);

// "fp32" or "bf16".
std::string_view PrecisionName(Precision precision);

}  // namespace trainyard::worker

// What may change when a failed job is tried again: how it goes on, not what it is.
#pragma once

#include <string>
#include <vector>

#include "common/job_spec/resolve.h"

namespace trainyard {

constexpr size_t kRetrySetsMax = 64;
// In ResolvedSpec::origins, of a field that a retry has changed.
constexpr char kRetryOrigin[] = "retry --set";

// Whether `trainyard retry --set` may change the field ("train.max_steps"); the reason when not.
Status CheckMayChangeOnRetry(const std::string& path);

// `before` with `sets` applied ("train.max_steps=200", peers' names included), their origin being
// "retry --set", and resolved. A micro-batch size that was chosen at submit is chosen anew.
// InvalidArgument, with the field, for one that may not change or a spec that is not valid then.
StatusOr<ResolvedSpec> ChangeForRetry(const ResolvedSpec& before,
                                      const std::vector<std::string>& sets);

}  // namespace trainyard

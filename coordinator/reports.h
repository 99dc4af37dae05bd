// What a worker says. Level-triggered: a report says all that the worker has, the answer
// (desired.h) what it should have. Called under the coordinator's lock.
#pragma once

#include <string>

#include "common/status.h"
#include "coordinator/ledger.h"

namespace trainyard::coordinator {

// Takes in a report. InvalidArgument when it is malformed, with nothing changed. Returns why the
// worker may not join, "" when it may.
StatusOr<std::string> TakeReport(Ledger& ledger, const WorkerReport& report);

// True if a worker of version `theirs` may join a coordinator of version `ours`: the same minor
// version or the one before ("0.2" takes "0.1" and "0.2.7").
bool IsCompatible(std::string_view ours, std::string_view theirs);

}  // namespace trainyard::coordinator

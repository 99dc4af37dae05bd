// What a worker should have: every rank of an open attempt that is placed there, also those that
// have exited, until the attempt has ended. Called under the coordinator's lock.
#pragma once

#include "coordinator/ledger.h"

namespace trainyard::coordinator {

DesiredState DesiredOf(const Ledger& ledger, const WorkerId& worker);

}  // namespace trainyard::coordinator

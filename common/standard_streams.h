// stdin, stdout and stderr as a program finds and leaves them.
#pragma once

#include "common/status.h"

namespace trainyard {

// Puts /dev/null, to read only, in the place of those that are closed: else the next file opened
// gets their number, and what is printed lands in it. Call it first.
void HoldStandardStreams();

// Whether all that was printed has arrived; call it last. ResourceExhausted with the reason when
// it has not (a full disk, a closed stdout). A reader that has gone has had enough: OK.
Status FinishStdout();

}  // namespace trainyard

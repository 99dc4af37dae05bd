// How a rank ends, in the words of its exit record (link::Outcome).
#pragma once

#include <string>
#include <string_view>

#include "common/link/messages.h"
#include "common/status.h"

namespace trainyard::worker {

// Reasons, as link::Outcome and errors carry them.
inline constexpr char kAgentLost[] = "AGENT_LOST";
inline constexpr char kBadInput[] = "BAD_INPUT";
inline constexpr char kCheckpointDamaged[] = "CHECKPOINT_DAMAGED";
inline constexpr char kDataDamaged[] = "DATA_DAMAGED";
inline constexpr char kDiskFull[] = "DISK_FULL";
inline constexpr char kInternal[] = "INTERNAL";
inline constexpr char kLossNotFinite[] = "LOSS_NOT_FINITE";
inline constexpr char kOutOfMemory[] = "OUT_OF_MEMORY";
inline constexpr char kPeerLost[] = "PEER_LOST";
inline constexpr char kStopped[] = "STOPPED";

link::Outcome Succeeded(std::string message);
// `reason`: STOPPED or AGENT_LOST.
link::Outcome Stopped(std::string reason, std::string message);

// The outcome of an error. A reason that the status carries (WithReason) wins; else by code:
//   BAD_INPUT      InvalidArgument, NotFound, Unimplemented, ...: the user's to mend
//   OUT_OF_MEMORY  ResourceExhausted (a full disk carries DISK_FULL)
//   DATA_DAMAGED   DataLoss: stored bytes that are not what was written
//   INTERNAL       all others
// Errors with reason STOPPED or AGENT_LOST are `stopped`, the rest `failed`.
link::Outcome OutcomeOf(const Status& status);

// Cancelled with the reason STOPPED: told to stop now while waiting until `what`.
Status StopRequested(std::string_view what);
// An error of a collective: Aborted and DeadlineExceeded have the reason PEER_LOST, others (a
// disagreement between ranks) INTERNAL. OK stays OK.
Status PeerError(const Status& status);

}  // namespace trainyard::worker

// Why a rank ended, who can do something about it, and what happens to the job: one table. Trainers
// and agents write the reason into Outcome.reason; the coordinator adds its own.
#pragma once

#include <string_view>
#include <vector>

#include "coordinator/state/job.h"

namespace trainyard::coordinator {

enum class Remedy {
  kFail,            // trying again would end the same way: the job is FAILED at once
  kReplace,         // a new attempt from the newest recorded checkpoint
  kDropCheckpoint,  // the same, from the recorded checkpoint before the one that was resumed
};

struct ReasonRow {
  std::string_view reason;
  ReasonOwner owner;
  Remedy remedy;
  std::string_view meaning;
};

extern const std::vector<ReasonRow> kReasons;

// An unknown reason is ours to look into (SYSTEM) and worth another attempt.
ReasonRow FindReason(std::string_view reason);

// A survivor's complaint about another rank, never the first cause of an attempt's end.
bool IsEcho(std::string_view reason);

}  // namespace trainyard::coordinator

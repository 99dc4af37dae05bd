// A job changes by events and by nothing else. A Change is an event that has no sequence number
// yet; Apply is the one place that knows what each type does to a job, so that replaying the event
// log gives the derived rows again (a test does so).
#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "coordinator/state/job.h"
#include "coordinator/state/job_json.h"

namespace trainyard::coordinator {

struct Change {
  std::string type;
  AttemptNumber attempt = 0;
  std::string message;  // one sentence for people
  Json payload = Json::object();
};

// Why a job is in its state.
struct Why {
  std::string reason;  // UPPER_SNAKE
  ReasonOwner owner = ReasonOwner::kNone;
  std::string message;
};

// The job is accepted; `job` holds what BirthToJson writes.
Change JobCreated(const Job& job);
// `not_before`: back-off before the next attempt.
Change JobStateChanged(JobState from, JobState to, const Why& why,
                       absl::Time not_before = absl::InfinitePast());
// The same state for another reason.
Change JobNoted(const Why& why, absl::Time not_before = absl::InfinitePast());
Change AttemptStarted(const Attempt& attempt, std::string_view placement);
// Its ranks are told to stop. `counts`: against limits.max_attempts.
Change AttemptEnding(const Attempt& attempt, const Why& why, bool counts);
// Every rank is known to be gone; `why` is the first cause.
Change AttemptEnded(const Attempt& attempt, const Why& why);
// Of a retry that was asked for other fields; `sets` as they were asked for.
Change JobSpecChanged(const JobSpec& spec, const std::map<std::string, std::string>& origins,
                      const std::vector<std::string>& sets);
Change JobPrepared(AttemptNumber attempt, const std::vector<PreparedFile>& files,
                   const std::vector<Choice>& choices);
Change CheckpointCommitted(const Checkpoint& checkpoint);
Change CheckpointDeleted(const Checkpoint& checkpoint, std::string_view reason);
// The job itself: nothing of it is left but this event.
Change JobDeleted(const Job& job);
Change CheckpointFailed(AttemptNumber attempt, int64_t step, std::string_view why);
// Something happened that changes no field of the job: RankExited, RankHung, RankLost,
// RanksAdopted, CoordinatorRestarted.
Change Happened(std::string_view type, AttemptNumber attempt, std::string_view message,
                Json payload);

// True for types that touch the job (its revision grows).
bool ChangesJob(std::string_view type);

// The job after the change. `before` is empty for JobCreated. DataLoss when the change does not fit
// the job: an illegal transition, an attempt that is not the last.
StatusOr<Job> Apply(Job before, const Change& change, absl::Time time);

}  // namespace trainyard::coordinator

// What must always hold, judged from outside: from the committed events, as anybody reads them, and
// from what clients were told.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "common/status.h"
#include "coordinator/coordinator.h"
#include "coordinator/state/job_json.h"
#include "coordinator/store/store.h"

namespace trainyard::simulation {

class Checker {
 public:
  // After a commit: reads the new events. An error says which invariant broke.
  Status ReadEvents(coordinator::Store& store);
  // After every step: no slot is given out twice, in memory either.
  Status CheckSlots(const coordinator::Coordinator& coordinator) const;
  // A client heard that its submit was accepted as this job.
  Status Acknowledged(const std::string& request, const JobId& job);
  // A client heard that this job is cancelled or on the way there.
  Status CancelAcknowledged(const JobId& job) const;
  // At the end: derived rows are what replaying the events gives; every job is final.
  Status CheckEnd(coordinator::Store& store) const;

  bool AllFinal() const;
  const std::map<std::string, JobId>& acknowledged() const { return acknowledged_; }
  int64_t events() const { return last_sequence_; }
  int64_t attempts() const { return attempts_; }
  int64_t succeeded() const;
  int64_t last_checkpoints() const { return last_checkpoints_; }

 private:
  struct JobModel {
    std::string request;
    coordinator::JobState state = coordinator::JobState::kPending;
    AttemptNumber last_attempt = 0;
    bool open = false;
    std::vector<coordinator::RankPlacement> ranks;
    int64_t newest_step = -1;
    coordinator::Job replayed;
  };
  Status Read(const coordinator::Event& event);
  Status ReadStateChange(const coordinator::Event& event, JobModel& job,
                         const coordinator::Json& payload);
  Status ReadAttempt(const coordinator::Event& event, JobModel& job,
                     const coordinator::Json& payload);
  Status ReadCheckpoint(const coordinator::Event& event, JobModel& job,
                        const coordinator::Json& payload);
  Status CheckShares() const;

  int64_t last_sequence_ = 0;
  int64_t attempts_ = 0;
  int64_t last_checkpoints_ = 0;
  std::map<JobId, JobModel> jobs_;
  std::map<std::string, JobId> created_by_request_;
  std::map<std::string, JobId> acknowledged_;
};

}  // namespace trainyard::simulation

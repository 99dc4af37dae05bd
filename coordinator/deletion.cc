#include "coordinator/deletion.h"

#include <algorithm>
#include <string>

#include "coordinator/coordinator.h"

namespace trainyard::coordinator {
namespace {

bool HasEnded(const Job& job) { return IsFinal(job.state) && OpenAttempt(job) == nullptr; }

Status InUse(std::string_view what, const Job& user) {
  return WithReason(
      FailedPrecondition("{} is in use: job {} ({}) goes on from it; wait until that has ended, or "
                         "cancel it first",
                         what, user.id.value, JobStateName(user.state)),
      "CHECKPOINT_IN_USE");
}

}  // namespace

const Job* UserOf(const std::vector<JobEntry*>& jobs, const Job& job, std::optional<int64_t> step) {
  // As a spec has it once it is resolved.
  const std::string any = fmt::format("job:{}@", job.id.value);
  const std::string one = step.has_value() ? any + std::to_string(*step) : "";
  const auto is_meant = [&](const std::string& from) {
    return step.has_value() ? from == one : from.starts_with(any);
  };
  for (const JobEntry* entry : jobs) {
    const Job& other = *entry->job;
    if (other.id == job.id || HasEnded(other)) continue;
    if (is_meant(other.spec->model.from) || is_meant(other.spec->tokenizer.from)) return &other;
  }
  return nullptr;
}

Status CheckMayDelete(const Job& job, const Job* user) {
  if (!IsFinal(job.state))
    return WithReason(
        FailedPrecondition("job {} is {}, and only a job that has ended can be deleted: cancel it "
                           "first (`trainyard cancel {}`)",
                           job.id.value, JobStateName(job.state), job.id.value),
        "JOB_NOT_ENDED");
  if (const Attempt* open = OpenAttempt(job))
    return WithReason(
        FailedPrecondition("job {} is {}, but ranks of its attempt {} are not known to be gone "
                           "yet: try again in a moment",
                           job.id.value, JobStateName(job.state), open->number),
        "JOB_NOT_ENDED");
  if (user != nullptr) return InUse(fmt::format("a checkpoint of job {}", job.id.value), *user);
  return OkStatus();
}

Status CheckMayDelete(const Job& job, const Checkpoint& checkpoint, const Job* user) {
  const Checkpoint* newest = NewestCheckpoint(job);
  const bool is_newest = newest != nullptr && newest->key == checkpoint.key;
  const std::string what = fmt::format("checkpoint {} of job {}", checkpoint.step, job.id.value);
  if (is_newest && !HasEnded(job))
    return WithReason(
        FailedPrecondition("{} is its newest, from which the job ({}) goes on when a rank is lost: "
                           "delete an older one, or cancel the job first",
                           what, JobStateName(job.state)),
        "CHECKPOINT_NEEDED");
  if (is_newest && job.state == JobState::kFailed)
    return WithReason(
        FailedPrecondition("{} is its newest, from which `trainyard retry` goes on: delete an "
                           "older one, or the whole job (`trainyard delete {}`)",
                           what, job.id.value),
        "CHECKPOINT_NEEDED");
  if (user != nullptr) return InUse(what, *user);
  return OkStatus();
}

StatusOr<int64_t> Coordinator::Delete(const Actor& actor, std::string_view ref,
                                      std::string_view etag) {
  Notices notices;
  int64_t durable_after = 0;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(JobEntry * entry, ledger_->Resolve(ref));
    const Job& job = *entry->job;
    RETURN_IF_ERROR(CheckEtag(job, etag));
    RETURN_IF_ERROR(CheckMayDelete(job, UserOf(ledger_->jobs(), job, std::nullopt)));
    ASSIGN_OR_RETURN(durable_after, ledger_->Remove(*entry, actor));
    notices = ledger_->TakeNotices();
  }
  Announce(notices);
  return durable_after;
}

StatusOr<int64_t> Coordinator::DeleteCheckpoint(const Actor& actor, const JobId& id,
                                                std::string_view key) {
  Notices notices;
  int64_t durable_after = 0;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(JobEntry * entry, ledger_->Resolve(id.value));
    const Job& job = *entry->job;
    const auto found = std::find_if(job.checkpoints.begin(), job.checkpoints.end(),
                                    [&](const Checkpoint& c) { return c.key == key; });
    if (found == job.checkpoints.end())
      return WithReason(NotFound("job {} has no recorded checkpoint {} any more", id.value, key),
                        "CHECKPOINT_NOT_FOUND");
    RETURN_IF_ERROR(CheckMayDelete(job, *found, UserOf(ledger_->jobs(), job, found->step)));
    const Change change = CheckpointDeleted(*found, fmt::format("deleted by {}", actor));
    RETURN_IF_ERROR(ledger_->Emit(*entry, actor, {change}));
    ledger_->NoteFolder(id, std::string(key));
    durable_after = entry->last_sequence;
    notices = ledger_->TakeNotices();
  }
  Announce(notices);
  return durable_after;
}

}  // namespace trainyard::coordinator

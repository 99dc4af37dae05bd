// delete, checkpoint delete: what is meant is looked up, shown and asked for, then deleted.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace trainyard::cli {
namespace {

// Known before anything is looked up.
Status CheckMayAsk(const DeleteOptions& options) {
  if (options.yes || (::isatty(STDIN_FILENO) == 1 && StderrIsTerminal())) return OkStatus();
  return InvalidArgument(
      "what is deleted is gone for good, and nobody can be asked here (stdin or stderr is no "
      "terminal): pass --yes to delete without being asked");
}

Status Ask(const DeleteOptions& options, const std::vector<std::string>& lines) {
  if (options.yes) return OkStatus();
  for (const std::string& line : lines) std::fprintf(stderr, "%s\n", line.c_str());
  std::fprintf(stderr, "delete for good? [y/N] ");
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") return OkStatus();
  return Cancelled("nothing was deleted");
}

// A job to delete and what goes with it.
struct DoomedJob {
  v1::Job job;
  std::string line;
};

StatusOr<DoomedJob> FindJob(Client& client, const std::string& ref) {
  v1::GetJobRequest get;
  get.set_name(NameOfRef(ref));
  DoomedJob found;
  ASSIGN_OR_RETURN(found.job, client.Call(client.jobs(), &v1::JobService::Stub::GetJob, get));
  v1::ListCheckpointsRequest list;
  list.set_parent(found.job.name());
  ASSIGN_OR_RETURN(
      const v1::ListCheckpointsResponse recorded,
      client.Call(client.checkpoints(), &v1::CheckpointService::Stub::ListCheckpoints, list));
  double bytes = 0;
  for (const v1::Checkpoint& checkpoint : recorded.checkpoints())
    bytes += double(checkpoint.size_bytes());
  found.line = fmt::format("job {} ({}): {} checkpoints, {}", found.job.job_id(),
                           v1::JobState_Name(found.job.state()), recorded.checkpoints_size(),
                           FormatBytes(bytes));
  return found;
}

StatusOr<v1::Checkpoint> FindCheckpoint(Client& client, const std::string& ref) {
  if (ref.find('@') == std::string::npos)
    return InvalidArgument("{} does not say which checkpoint: give JOB@STEP or JOB@latest", ref);
  const std::string name = CheckpointNameOfRef(ref);
  const size_t step = name.rfind("/checkpoints/");
  v1::ListCheckpointsRequest list;
  list.set_parent(name.substr(0, step));
  ASSIGN_OR_RETURN(
      const v1::ListCheckpointsResponse recorded,
      client.Call(client.checkpoints(), &v1::CheckpointService::Stub::ListCheckpoints, list));
  // One whose folder is gone can be deleted too, and GetCheckpoint would not show it.
  const std::string wanted = name.substr(step + std::string("/checkpoints/").size());
  for (const v1::Checkpoint& checkpoint : recorded.checkpoints())
    if (std::to_string(checkpoint.step()) == wanted) return checkpoint;
  if (wanted == "latest" && recorded.checkpoints_size() > 0)
    return recorded.checkpoints(recorded.checkpoints_size() - 1);
  return WithReason(
      NotFound("{} names no recorded checkpoint; `trainyard checkpoint list {}` shows "
               "those that there are",
               ref, ref.substr(0, ref.find('@'))),
      "CHECKPOINT_NOT_FOUND");
}

std::string LineOf(const v1::Checkpoint& checkpoint) {
  return fmt::format("checkpoint {}@{}: {}{}", checkpoint.job_id(), checkpoint.step(),
                     FormatBytes(double(checkpoint.size_bytes())),
                     checkpoint.removed_by_hand() ? ", its folder was removed by hand" : "");
}

// A document is printed whole or not at all; lines are printed as things go.
void Tell(Format format, const std::string& name, const std::string& line) {
  if (IsData(format)) return;
  const std::string text = format == Format::kName ? name : "deleted " + line;
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

// What a document would have said of those that were deleted before one was refused.
int FailAfter(const Status& status, Format format, const std::vector<std::string>& deleted) {
  if (IsData(format))
    for (const std::string& name : deleted) std::fprintf(stderr, "deleted %s\n", name.c_str());
  return Fail(status);
}

}  // namespace

int Delete(const Place& place, const DeleteOptions& options, Format format) {
  if (const Status may = CheckMayAsk(options); !may.ok()) return Fail(may);
  const auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  std::vector<DoomedJob> doomed;
  std::vector<std::string> lines;
  for (const std::string& ref : options.refs) {
    const auto found = FindJob(**client, ref);
    if (!found.ok()) return Fail(found.status());
    const bool again = std::any_of(doomed.begin(), doomed.end(), [&](const DoomedJob& other) {
      return other.job.job_id() == found->job.job_id();
    });
    if (again) continue;
    doomed.push_back(*found);
    lines.push_back(found->line);
  }
  if (const Status asked = Ask(options, lines); !asked.ok()) return Fail(asked);
  v1::ListJobsResponse document;
  std::vector<std::string> deleted;
  for (const DoomedJob& found : doomed) {
    v1::DeleteJobRequest request;
    request.set_name(found.job.name());
    request.set_etag(found.job.etag());
    const auto job = (*client)->Call((*client)->jobs(), &v1::JobService::Stub::DeleteJob, request);
    if (!job.ok()) return FailAfter(job.status(), format, deleted);
    Tell(format, job->job_id(), found.line);
    *document.add_jobs() = *job;
    deleted.push_back(job->job_id());
  }
  if (IsData(format)) Print(format, document, nullptr, nullptr);
  return kOk;
}

int CheckpointDelete(const Place& place, const DeleteOptions& options, Format format) {
  if (const Status may = CheckMayAsk(options); !may.ok()) return Fail(may);
  const auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  std::vector<v1::Checkpoint> doomed;
  std::vector<std::string> lines;
  for (const std::string& ref : options.refs) {
    const auto found = FindCheckpoint(**client, ref);
    if (!found.ok()) return Fail(found.status());
    const bool again = std::any_of(doomed.begin(), doomed.end(), [&](const v1::Checkpoint& other) {
      return other.name() == found->name();
    });
    if (again) continue;
    doomed.push_back(*found);
    lines.push_back(LineOf(*found));
  }
  if (const Status asked = Ask(options, lines); !asked.ok()) return Fail(asked);
  v1::ListCheckpointsResponse document;
  std::vector<std::string> deleted;
  for (const v1::Checkpoint& found : doomed) {
    v1::DeleteCheckpointRequest request;
    request.set_name(found.name());
    const auto checkpoint = (*client)->Call(
        (*client)->checkpoints(), &v1::CheckpointService::Stub::DeleteCheckpoint, request);
    if (!checkpoint.ok()) return FailAfter(checkpoint.status(), format, deleted);
    Tell(format, checkpoint->name(), LineOf(found));
    *document.add_checkpoints() = *checkpoint;
    deleted.push_back(checkpoint->name());
  }
  if (IsData(format)) Print(format, document, nullptr, nullptr);
  return kOk;
}

}  // namespace trainyard::cli

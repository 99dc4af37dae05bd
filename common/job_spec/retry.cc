#include "common/job_spec/retry.h"

#include <map>
#include <string_view>

#include "common/job_spec/fields.h"

namespace trainyard {
namespace {

struct Fixed {
  std::string_view path;  // of a field, or of a group with all below it
  std::string_view why;
};

// All else may change.
constexpr Fixed kFixed[] = {
    {"version", "it is that of the job as it was submitted"},
    {"name", "the job's id is made of it"},
    {"kind", "it is what the job is"},
    {"objective", "it is what the weights were trained for so far"},
    {"model", "its shape is that of the checkpoint"},
    {"tokenizer", "the checkpoint's embedding is of these tokens"},
    {"data", "a job goes on at its place in the rows that it began with"},
    {"masking", "a job goes on at its place in the rows that it began with"},
    {"train.global_batch_size", "a job goes on at its place in the rows that it began with"},
    {"train.max_length", "a job goes on at its place in the rows that it began with"},
    {"train.seed", "a job goes on at its place in the rows that it began with"},
    {"train.optim", "its state is in the checkpoint"},
};

bool IsAtOrBelow(std::string_view path, std::string_view group) {
  return path.starts_with(group) &&
         (path.size() == group.size() || path[group.size()] == '.' || path[group.size()] == '[');
}

std::map<std::string, std::string> LeavesOf(const JobSpec& spec) {
  std::map<std::string, std::string> leaves;
  VisitLeaves(spec, [&](const std::string& path, const Field&, const std::string& text) {
    leaves[path] = text;
  });
  return leaves;
}

}  // namespace

Status CheckMayChangeOnRetry(const std::string& path) {
  for (const Fixed& fixed : kFixed) {
    if (!IsAtOrBelow(path, fixed.path)) continue;
    return WithField(
        InvalidArgument("{} cannot change when a job is tried again: {}; submit another "
                        "job (model.from takes this one's weights)",
                        path, fixed.why),
        path);
  }
  return OkStatus();
}

StatusOr<ResolvedSpec> ChangeForRetry(const ResolvedSpec& before,
                                      const std::vector<std::string>& sets) {
  if (sets.size() > kRetrySetsMax)
    return InvalidArgument("{} fields are set, at most {} are allowed", sets.size(), kRetrySetsMax);
  ParsedJob job;
  job.spec = before.spec;
  for (const std::string& assignment : sets) {
    const std::map<std::string, std::string> old = LeavesOf(job.spec);
    job.origins.clear();
    RETURN_IF_ERROR(ApplySet(&job, assignment));
    for (const auto& [path, origin] : job.origins) RETURN_IF_ERROR(CheckMayChangeOnRetry(path));
    for (const auto& [path, text] : LeavesOf(job.spec)) {
      const auto was = old.find(path);
      if (was == old.end() || was->second != text) RETURN_IF_ERROR(CheckMayChangeOnRetry(path));
    }
  }
  const std::map<std::string, std::string> old = LeavesOf(before.spec);
  job.origins = before.origins;
  bool micro_batch_set = false;
  for (const auto& [path, text] : LeavesOf(job.spec)) {
    if (old.contains(path) && old.at(path) == text) continue;
    job.origins[path] = kRetryOrigin;
    micro_batch_set |= path == "train.micro_batch_size";
  }
  const auto chosen = job.origins.find("train.micro_batch_size");
  if (!micro_batch_set && chosen != job.origins.end() && chosen->second == "planner")
    job.spec.train.micro_batch_size = 0;
  return Resolve(job);
}

}  // namespace trainyard

#include "coordinator/service/recorded_checkpoint.h"

#include <algorithm>
#include <charconv>

#include "common/files.h"

namespace trainyard::coordinator {
namespace {

constexpr int64_t kReadBytes = 1 << 20;

}  // namespace

StatusOr<RecordedCheckpoint> FindRecorded(const Coordinator& coordinator, const std::string& job,
                                          std::string_view item) {
  ASSIGN_OR_RETURN(const Answer<JobView> view, coordinator.Get(job));
  const auto& recorded = view.value.job->checkpoints;
  auto found = recorded.end();
  if (item == "latest") {
    if (!recorded.empty()) found = recorded.end() - 1;
  } else {
    int64_t step = 0;
    const char* const end = item.data() + item.size();
    if (item.empty() || std::from_chars(item.data(), end, step).ptr != end)
      return WithField(
          InvalidArgument("{:?} is no step: give a number or latest", item.substr(0, 200)), "name");
    found = std::find_if(recorded.begin(), recorded.end(),
                         [step](const Checkpoint& c) { return c.step == step; });
  }
  if (found == recorded.end())
    return WithReason(NotFound("job {} has no recorded checkpoint {}; `trainyard checkpoint list "
                               "{}` shows those it has",
                               view.value.job->id.value, item, view.value.job->id.value),
                      "CHECKPOINT_NOT_FOUND");
  return RecordedCheckpoint{view.value.job, *found, view.durable_after};
}

StatusOr<std::vector<std::string>> RemovedByHand(BlobStore& blobs, const Job& job) {
  std::vector<std::string> removed;
  if (job.checkpoints.empty()) return removed;
  ASSIGN_OR_RETURN(const std::vector<std::string> there,
                   blobs.Folders("checkpoints/" + job.id.value));
  for (const Checkpoint& checkpoint : job.checkpoints)
    if (!std::binary_search(there.begin(), there.end(), checkpoint.key))
      removed.push_back(checkpoint.key);
  return removed;
}

StatusOr<CheckpointManifest> ManifestOf(BlobStore& blobs, const Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const auto folder, blobs.LocalPath(checkpoint.key));
  if (!folder.has_value())
    return Unimplemented("reading the manifest of a checkpoint in a remote BlobStore");
  std::error_code ignored;
  if (!std::filesystem::exists(*folder, ignored))
    return WithReason(
        DataLoss("checkpoint {} of {}: its folder was removed by hand ({} is not there); "
                 "`trainyard checkpoint list {}` shows which are, `trainyard checkpoint delete "
                 "{}@{}` drops its record",
                 checkpoint.step, checkpoint.job.value, folder->string(), checkpoint.job.value,
                 checkpoint.job.value, checkpoint.step),
        "CHECKPOINT_REMOVED_BY_HAND");
  return ReadManifest(*folder, checkpoint.manifest_digest);
}

StatusOr<std::string> DigestOfBlob(BlobStore& blobs, const std::string& key) {
  Sha256Stream stream;
  for (int64_t offset = 0;;) {
    ASSIGN_OR_RETURN(const std::string bytes, blobs.Read(key, offset, kReadBytes));
    if (bytes.empty()) return stream.Finish();
    stream.Add(bytes);
    offset += static_cast<int64_t>(bytes.size());
  }
}

}  // namespace trainyard::coordinator

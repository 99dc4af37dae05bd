#include "coordinator/service/checkpoint_service.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "common/checkpoint_manifest.h"
#include "common/files.h"
#include "common/wire/values.h"
#include "coordinator/service/convert.h"
#include "coordinator/service/job_service.h"
#include "coordinator/service/recorded_checkpoint.h"
#include "coordinator/service/unary.h"

namespace trainyard::coordinator {
namespace {

// projects/{p}/jobs/{j}/checkpoints/{step}; step may be "latest".
StatusOr<RecordedCheckpoint> Find(const Coordinator& coordinator, const std::string& text) {
  ASSIGN_OR_RETURN(const ResourceName name, ParseResourceName(text));
  if (name.collection != "checkpoints")
    return WithField(InvalidArgument("{:?} names no checkpoint: give "
                                     "projects/{{project}}/jobs/{{job}}/checkpoints/{{step}}, or "
                                     "latest for the step",
                                     text.substr(0, 200)),
                     "name");
  ASSIGN_OR_RETURN(const std::string ref, JobRef(JobName(name.project, name.job)));
  return FindRecorded(coordinator, ref, name.item);
}

// Nothing when the file is what was recorded.
std::optional<std::string> ProblemOf(BlobStore& blobs, const std::string& folder,
                                     const ManifestFile& file) {
  const std::string key = folder + "/" + file.path;
  const auto size = blobs.Size(key);
  if (!size.ok()) return fmt::format("{}: {}", file.path, MessageOf(size.status()));
  if (*size != file.size)
    return fmt::format("{}: {} bytes, {} were recorded", file.path, *size, file.size);
  const auto digest = DigestOfBlob(blobs, key);
  if (!digest.ok()) return fmt::format("{}: {}", file.path, MessageOf(digest.status()));
  if (*digest != file.sha256) return fmt::format("{}: its bytes are not those recorded", file.path);
  return std::nullopt;
}

Status Verify(BlobStore& blobs, const Checkpoint& checkpoint,
              v1::VerifyCheckpointResponse* response) {
  const auto manifest = ManifestOf(blobs, checkpoint);
  if (!manifest.ok()) {
    if (manifest.status().code() != StatusCode::kDataLoss) return manifest.status();
    response->add_problems(MessageOf(manifest.status()));
    return OkStatus();
  }
  std::set<std::string> listed = {checkpoint.key + "/" + CheckpointManifest::kPath};
  for (const ManifestFile& file : manifest->files) {
    listed.insert(checkpoint.key + "/" + file.path);
    if (const auto problem = ProblemOf(blobs, checkpoint.key, file))
      response->add_problems(*problem);
  }
  ASSIGN_OR_RETURN(const std::vector<BlobEntry> present, blobs.List(checkpoint.key));
  for (const BlobEntry& entry : present)
    if (!listed.contains(entry.key))
      response->add_problems(fmt::format("{}: is not in the manifest", entry.key));
  response->set_intact(response->problems().empty());
  return OkStatus();
}

}  // namespace

StatusOr<int64_t> CheckpointServiceImpl::List(const v1::ListCheckpointsRequest& request,
                                              v1::ListCheckpointsResponse* response) {
  ASSIGN_OR_RETURN(const std::string ref, JobRef(request.parent()));
  ASSIGN_OR_RETURN(const Answer<JobView> view, runtime_.context().coordinator.Get(ref));
  const Job& job = *view.value.job;
  ASSIGN_OR_RETURN(const std::vector<std::string> removed,
                   RemovedByHand(runtime_.context().blobs, job));
  for (const Checkpoint& checkpoint : job.checkpoints) {
    v1::Checkpoint* shown = response->add_checkpoints();
    *shown = CheckpointToProto(job, checkpoint);
    shown->set_removed_by_hand(std::find(removed.begin(), removed.end(), checkpoint.key) !=
                               removed.end());
  }
  return view.durable_after;
}

CheckpointServiceImpl::Unary* CheckpointServiceImpl::ListCheckpoints(
    Call* call, const v1::ListCheckpointsRequest* request, v1::ListCheckpointsResponse* response) {
  return AnswerUnary(runtime_, call, "/trainyard.v1.CheckpointService/ListCheckpoints",
                     Blocks::kShortly,
                     [=, this](const Principal&) { return List(*request, response); });
}

CheckpointServiceImpl::Unary* CheckpointServiceImpl::GetCheckpoint(
    Call* call, const v1::GetCheckpointRequest* request, v1::GetCheckpointResponse* response) {
  return AnswerUnary(
      runtime_, call, "/trainyard.v1.CheckpointService/GetCheckpoint", Blocks::kShortly,
      [=, this](const Principal&) -> StatusOr<int64_t> {
        const ServiceContext& context = runtime_.context();
        ASSIGN_OR_RETURN(const RecordedCheckpoint found,
                         Find(context.coordinator, request->name()));
        *response->mutable_checkpoint() = CheckpointToProto(*found.job, found.checkpoint);
        ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                         ManifestOf(context.blobs, found.checkpoint));
        const auto add = [response](const std::string& path, const std::string& sha256,
                                    int64_t size) {
          v1::CheckpointFile* file = response->add_files();
          file->set_path(path);
          file->set_sha256(sha256);
          file->set_size_bytes(size);
        };
        for (const ManifestFile& file : manifest.files) add(file.path, file.sha256, file.size);
        ASSIGN_OR_RETURN(
            const int64_t manifest_size,
            context.blobs.Size(found.checkpoint.key + "/" + CheckpointManifest::kPath));
        add(CheckpointManifest::kPath, found.checkpoint.manifest_digest, manifest_size);
        return found.durable_after;
      });
}

CheckpointServiceImpl::Unary* CheckpointServiceImpl::VerifyCheckpoint(
    Call* call, const v1::VerifyCheckpointRequest* request,
    v1::VerifyCheckpointResponse* response) {
  return AnswerUnary(runtime_, call, "/trainyard.v1.CheckpointService/VerifyCheckpoint",
                     Blocks::kForLong, [=, this](const Principal&) -> StatusOr<int64_t> {
                       const ServiceContext& context = runtime_.context();
                       ASSIGN_OR_RETURN(const RecordedCheckpoint found,
                                        Find(context.coordinator, request->name()));
                       RETURN_IF_ERROR(Verify(context.blobs, found.checkpoint, response));
                       return found.durable_after;
                     });
}

StatusOr<int64_t> CheckpointServiceImpl::Delete(const Principal& who,
                                                const v1::DeleteCheckpointRequest& request,
                                                v1::Checkpoint* response) {
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  const std::string key = MemoryKey("delete", who, request.request_id());
  if (memory_.Find(key, response)) return 0;
  Coordinator& coordinator = runtime_.context().coordinator;
  ASSIGN_OR_RETURN(const RecordedCheckpoint found, Find(coordinator, request.name()));
  ASSIGN_OR_RETURN(const int64_t durable_after,
                   coordinator.DeleteCheckpoint(who.actor(), found.job->id, found.checkpoint.key));
  *response = CheckpointToProto(*found.job, found.checkpoint);
  memory_.Remember(key, *response);
  return durable_after;
}

CheckpointServiceImpl::Unary* CheckpointServiceImpl::DeleteCheckpoint(
    Call* call, const v1::DeleteCheckpointRequest* request, v1::Checkpoint* response) {
  return AnswerUnary(runtime_, call, "/trainyard.v1.CheckpointService/DeleteCheckpoint",
                     Blocks::kNo,
                     [=, this](const Principal& who) { return Delete(who, *request, response); });
}

}  // namespace trainyard::coordinator

#include "coordinator/service/model_from.h"

#include "common/job_spec/local_model.h"
#include "coordinator/service/recorded_checkpoint.h"

namespace trainyard::coordinator {
namespace {

// Of a checkpoint's files those that are the model: not the trainer's state, not the card.
bool IsOfTheModel(const std::string& path) { return IsModelFileName(path) && path != "README.md"; }

Status Store(BlobStore& blobs, const std::string& key, const BlobRef& file) {
  const std::string to = "datasets/" + file.sha256;
  ASSIGN_OR_RETURN(const bool exists, blobs.Exists(to));
  if (exists) return OkStatus();
  ASSIGN_OR_RETURN(const std::string digest, DigestOfBlob(blobs, key));
  if (digest != file.sha256)
    return DataLoss("{}: its bytes are not those recorded; name another checkpoint", key);
  return blobs.Link(key, to);
}

Status Resolve(const ServiceContext& context, bool store, JobSpec& spec) {
  const std::string ref = spec.model.from.substr(std::string("job:").size());
  const size_t at = ref.find('@');
  const std::string item = at == std::string::npos ? "latest" : ref.substr(at + 1);
  ASSIGN_OR_RETURN(const RecordedCheckpoint found,
                   FindRecorded(context.coordinator, ref.substr(0, at), item));
  ASSIGN_OR_RETURN(const CheckpointManifest manifest, ManifestOf(context.blobs, found.checkpoint));
  spec.model.from = fmt::format("job:{}@{}", found.job->id.value, found.checkpoint.step);
  spec.model.files.clear();
  for (const ManifestFile& file : manifest.files) {
    if (!IsOfTheModel(file.path)) continue;
    spec.model.files.push_back({.name = file.path, .sha256 = file.sha256, .size_bytes = file.size});
    if (!store) continue;
    RETURN_IF_ERROR(
        Store(context.blobs, found.checkpoint.key + "/" + file.path, spec.model.files.back()));
  }
  return OkStatus();
}

}  // namespace

Status ResolveModelFrom(const ServiceContext& context, bool store, JobSpec& spec) {
  if (!NamesCheckpoint(spec.model.from)) return OkStatus();
  const Status resolved = Resolve(context, store, spec);
  if (resolved.ok()) return resolved;
  return WithField(Annotate(resolved, "model.from"), "model.from");
}

}  // namespace trainyard::coordinator

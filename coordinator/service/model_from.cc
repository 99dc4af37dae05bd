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

// Fills in the files of the checkpoint that `from` names, those that `wanted` takes.
Status Resolve(const ServiceContext& context, bool store, bool (*wanted)(const std::string&),
               std::string& from, std::vector<BlobRef>& files) {
  const std::string ref = from.substr(std::string("job:").size());
  const size_t at = ref.find('@');
  const std::string item = at == std::string::npos ? "latest" : ref.substr(at + 1);
  ASSIGN_OR_RETURN(const RecordedCheckpoint found,
                   FindRecorded(context.coordinator, ref.substr(0, at), item));
  ASSIGN_OR_RETURN(const CheckpointManifest manifest, ManifestOf(context.blobs, found.checkpoint));
  from = fmt::format("job:{}@{}", found.job->id.value, found.checkpoint.step);
  files.clear();
  for (const ManifestFile& file : manifest.files) {
    if (!wanted(file.path)) continue;
    files.push_back({.name = file.path, .sha256 = file.sha256, .size_bytes = file.size});
    if (!store) continue;
    RETURN_IF_ERROR(Store(context.blobs, found.checkpoint.key + "/" + file.path, files.back()));
  }
  return OkStatus();
}

bool IsOfTheTokenizer(const std::string& path) { return IsTokenizerFile(path); }

Status InField(const Status& status, const char* field) {
  return status.ok() ? status : WithField(Annotate(status, field), field);
}

}  // namespace

Status ResolveModelFrom(const ServiceContext& context, bool store, JobSpec& spec) {
  if (NamesCheckpoint(spec.model.from))
    RETURN_IF_ERROR(InField(
        Resolve(context, store, IsOfTheModel, spec.model.from, spec.model.files), "model.from"));
  if (NamesCheckpoint(spec.tokenizer.from))
    RETURN_IF_ERROR(InField(
        Resolve(context, store, IsOfTheTokenizer, spec.tokenizer.from, spec.tokenizer.files),
        "tokenizer.from"));
  return OkStatus();
}

}  // namespace trainyard::coordinator

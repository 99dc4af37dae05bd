#include "worker/loop/prepare_phase.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "common/files.h"
#include "worker/loop/job_precision.h"
#include "worker/loop/outcome.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

// Grows when the same inputs are prepared in another way.
constexpr int kPrepareVersion = 3;
// Bounds what one shard takes in memory while it is put into the BlobStore (4 bytes a token).
constexpr int64_t kShardTokens = int64_t{1} << 25;

Json SourcesJson(const std::vector<DataSource>& sources) {
  Json all = Json::array();
  for (const DataSource& source : sources) {
    Json files = Json::array();
    // The name decides how a file is read when the format is "auto".
    for (const BlobRef& file : source.files) files.push_back({file.name, file.sha256});
    all.push_back({source.format, source.text_field, source.weight, std::move(files)});
  }
  return all;
}

StatusOr<std::vector<PrepareSource>> OpenSources(const RankContext& context,
                                                 const std::vector<DataSource>& sources) {
  std::vector<PrepareSource> opened;
  for (const DataSource& source : sources) {
    PrepareSource prepare{.files = {},
                          .format = source.format,
                          .text_field = source.text_field,
                          .weight = source.weight};
    for (const BlobRef& file : source.files) {
      ASSIGN_OR_RETURN(const std::filesystem::path path, context.dataset_path(file));
      prepare.files.push_back({.path = path, .name = file.name});
    }
    opened.push_back(std::move(prepare));
  }
  return opened;
}

Status WithDiskReason(Status status) {
  if (status.code() != StatusCode::kResourceExhausted) return status;
  return WithReason(std::move(status), kDiskFull);
}

// Puts every file of `folder` under `key`, the manifest last: what has one is whole.
Status PutFolder(BlobStore& blobs, const std::filesystem::path& folder, const std::string& key) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    names.push_back(entry.path().filename().string());
  }
  if (error) return ErrnoStatus(error.value(), folder.string());
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return std::pair(a == kManifestName, a) < std::pair(b == kManifestName, b);
  });
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(folder / name));
    RETURN_IF_ERROR(blobs.Put(key + "/" + name, bytes));
  }
  return OkStatus();
}

// The files below `key`, as the coordinator keeps them.
StatusOr<std::vector<link::PreparedFile>> ListPrepared(const RankContext& context,
                                                       const std::string& key,
                                                       const std::string& manifest_sha256) {
  ASSIGN_OR_RETURN(const std::vector<BlobEntry> entries, context.blobs->List(key));
  ASSIGN_OR_RETURN(const std::string manifest, context.blobs->ReadAll(key + "/" + kManifestName));
  if (Sha256(manifest) != manifest_sha256) return DataLoss("{}/{} changed", key, kManifestName);
  // The manifest was checked when it was opened.
  std::map<std::string, std::string> digests = {{kManifestName, manifest_sha256}};
  const Json parsed = Json::parse(manifest);
  digests["tokenizer.json"] = parsed["tokenizer"]["sha256"];
  for (const char* split : {"train", "validation"}) {
    for (const Json& source : parsed[split]) {
      for (const Json& file : source["files"]) digests[file["name"]] = file["sha256"];
    }
  }
  std::vector<link::PreparedFile> files;
  for (const BlobEntry& entry : entries) {
    const std::string name = entry.key.substr(key.size() + 1);
    if (!digests.contains(name)) continue;  // left by an older version
    files.push_back({name, entry.key, digests[name], entry.size});
  }
  return files;
}

StatusOr<PreparedData> OpenKey(const RankContext& context, const std::string& key) {
  ASSIGN_OR_RETURN(const auto folder, context.blobs->LocalPath(key));
  if (!folder.has_value()) {
    return Unimplemented("prepared data in a BlobStore that is not a folder of this machine");
  }
  return OpenPrepared(*folder);
}

// A vocabulary that came out smaller than asked for is said.
void SayVocabulary(const PrepareSpec& spec) {
  if (!spec.tokenizer_json.empty()) return;
  const auto manifest = ReadFile(spec.folder / kManifestName);
  if (!manifest.ok()) return;
  const Json json = Json::parse(*manifest, nullptr, /*allow_exceptions=*/false);
  const int64_t reached = json["tokenizer"].value("vocab_size", spec.vocab_size);
  if (reached < spec.vocab_size)
    spdlog::warn(
        "the text supports a vocabulary of {} entries, tokenizer.train.vocab_size asks "
        "for {}: training goes on with {}",
        reached, spec.vocab_size, reached);
}

int64_t FileBytes(const std::vector<DataSource>& sources) {
  int64_t bytes = 0;
  for (const DataSource& source : sources)
    for (const BlobRef& file : source.files) bytes += file.size_bytes;
  return bytes;
}

// "tokenizing train, 12.3 MB of text; the files have 41.0 MB".
std::string SayProgress(const PrepareProgress& progress, const DataSpec& data) {
  const bool learns = progress.phase == "tokenizer";
  const int64_t of = FileBytes(progress.phase == "validation" ? data.validation : data.train);
  return fmt::format("{}, {:.1f} MB of text; the files have {:.1f} MB",
                     learns ? "reading text for the tokenizer" : "tokenizing " + progress.phase,
                     static_cast<double>(progress.source_bytes) / 1e6,
                     static_cast<double>(of) / 1e6);
}

// Makes the files in a scratch folder and puts them into the BlobStore.
Status Make(const RankContext& context, const StartingModel& model, const std::string& key) {
  PrepareSpec spec;
  ASSIGN_OR_RETURN(spec.train, OpenSources(context, context.spec.data.train));
  ASSIGN_OR_RETURN(spec.validation, OpenSources(context, context.spec.data.validation));
  spec.tokenizer_json = model.tokenizer_json;
  spec.end_of_text_id = model.token("eos_token_id");
  if (const auto& train = context.spec.tokenizer.train) {
    spec.tokenizer_type = train->type;
    spec.vocab_size = train->vocab_size;
    spec.with_mask_token = context.spec.objective == "masked";
  }
  spec.folder = context.work_dir / "prepare";
  spec.shard_tokens = kShardTokens;
  spec.on_progress = [&](const PrepareProgress& progress) -> Status {
    context.link->Doing(SayProgress(progress, context.spec.data));
    spdlog::info("preparing={} documents={} megabytes={:.1f}", progress.phase, progress.documents,
                 static_cast<double>(progress.source_bytes) / 1e6);
    if (context.link->stop() != link::StopMode::kNone) return StopRequested("the data is prepared");
    return OkStatus();
  };
  std::error_code ignored;
  std::filesystem::remove_all(spec.folder, ignored);
  Status made = Prepare(spec).status();
  if (made.ok()) SayVocabulary(spec);
  if (made.ok()) made = PutFolder(*context.blobs, spec.folder, key);
  std::filesystem::remove_all(spec.folder, ignored);
  return WithDiskReason(made);
}

StatusOr<PreparedData> FindOrMake(const RankContext& context, const StartingModel& model) {
  const std::string key = "prepared/" + PreparedDigest(context.spec, model);
  context.link->SetPhase(link::Phase::kPreparing);
  StatusOr<PreparedData> data = OpenKey(context, key);
  if (!data.ok()) {
    if (!absl::IsNotFound(data.status())) {
      spdlog::warn("preparing the data again: {}", MessageOf(data.status()));
    }
    RETURN_IF_ERROR(Make(context, model, key));
    data = OpenKey(context, key);
  }
  if (!data.ok()) return data.status();
  ASSIGN_OR_RETURN(const auto files, ListPrepared(context, key, data->manifest_sha256));
  ASSIGN_OR_RETURN(const auto choices, ChooseForJob(context, model, *data->tokenizer));
  context.link->ReportPrepared(files, choices);
  return data;
}

}  // namespace

std::string PreparedDigest(const JobSpec& spec, const StartingModel& model) {
  Json inputs = {{"version", kPrepareVersion},
                 {"train", SourcesJson(spec.data.train)},
                 {"validation", SourcesJson(spec.data.validation)}};
  if (spec.tokenizer.train) {
    inputs["vocab_size"] = spec.tokenizer.train->vocab_size;
    inputs["tokenizer_type"] = spec.tokenizer.train->type;
    inputs["mask_token"] = spec.objective == "masked";
  } else {
    inputs["tokenizer_sha256"] = Sha256(model.tokenizer_json);
    inputs["end_of_text"] = model.token("eos_token_id");
  }
  return Sha256(inputs.dump());
}

StatusOr<PreparedData> PreparePhase(const RankContext& context, const StartingModel& model) {
  std::optional<PreparedData> own;
  if (context.rank == 0) {
    ASSIGN_OR_RETURN(own, FindOrMake(context, model));
  }
  context.link->SetPhase(link::Phase::kWaiting);
  ASSIGN_OR_RETURN(const link::Directive directive,
                   context.link->WaitUntil("the data is prepared", [](const link::Directive& d) {
                     return d.prepared.has_value() || d.stop != link::StopMode::kNone;
                   }));
  if (directive.stop != link::StopMode::kNone) return StopRequested("the data is prepared");
  const auto manifest =
      std::find_if(directive.prepared->begin(), directive.prepared->end(),
                   [](const link::PreparedFile& file) { return file.name == kManifestName; });
  if (manifest == directive.prepared->end()) {
    return Internal("the prepared files have no {} among them", kManifestName);
  }
  if (!own.has_value()) {
    const std::string key = manifest->key.substr(0, manifest->key.rfind('/'));
    ASSIGN_OR_RETURN(own, OpenKey(context, key));
  }
  if (own->manifest_sha256 != manifest->sha256) {
    return DataLoss("{} is not the file that was prepared for this job", manifest->key);
  }
  return *std::move(own);
}

}  // namespace trainyard::worker

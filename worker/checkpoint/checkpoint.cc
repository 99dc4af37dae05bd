#include "worker/checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <cerrno>
#include <functional>
#include <set>
#include <system_error>

#include "common/blob_store.h"
#include "common/files.h"
#include "worker/checkpoint/hashed_file.h"
#include "worker/checkpoint/model_source.h"
#include "worker/checkpoint/read_weights.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/checkpoint/safetensors_writer.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kStateVersion = 1;
constexpr char kWeights[] = "model.safetensors";
constexpr char kStatePath[] = "trainyard/state.json";

std::string OptimizerPath(std::string_view engine) {
  return fmt::format("trainyard/optimizer-{}.safetensors", engine);
}

std::string StateText(const TrainingState& state, const std::string& engine) {
  const ordered_json document = {{"version", kStateVersion},
                                 {"job", state.job},
                                 {"attempt", state.attempt},
                                 {"step", state.step},
                                 {"engines", {{engine, {{"update_count", state.update_count}}}}},
                                 {"loader", state.loader},
                                 {"schedule", state.schedule},
                                 {"data_sha256", state.data_sha256},
                                 {"tokenizer_sha256", state.tokenizer_sha256},
                                 {"spec_sha256", state.spec_sha256}};
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

// The folder is already verified, so what does not parse was written by another version.
StatusOr<TrainingState> ParseState(const std::string& text, const std::string& engine) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto pointer = json::json_pointer("/engines") / engine / "update_count";
  const auto is_string = [&](const char* key) {
    return document.contains(key) && document[key].is_string();
  };
  const auto is_number = [&](const json::json_pointer& key) {
    return document.contains(key) && document[key].is_number_integer();
  };
  if (!document.is_object() || document.value("version", json()) != kStateVersion)
    return FailedPrecondition("its version is not {}, the one this program knows", kStateVersion);
  if (!is_number(pointer)) return InvalidArgument("it has no engine {:?}", engine);
  if (!is_string("job") || !is_number(json::json_pointer("/attempt")) ||
      !is_number(json::json_pointer("/step")) || !is_string("data_sha256") ||
      !is_string("tokenizer_sha256") || !is_string("spec_sha256") || !document.contains("loader") ||
      !document.contains("schedule"))
    return DataLoss("a field is missing or of the wrong kind");
  TrainingState state;
  document["job"].get_to(state.job);
  document["attempt"].get_to(state.attempt);
  document["step"].get_to(state.step);
  document[pointer].get_to(state.update_count);
  state.loader = document["loader"];
  state.schedule = document["schedule"];
  document["data_sha256"].get_to(state.data_sha256);
  document["tokenizer_sha256"].get_to(state.tokenizer_sha256);
  document["spec_sha256"].get_to(state.spec_sha256);
  return state;
}

std::vector<TensorToWrite> WeightTensors(const CheckpointContents& contents) {
  const TensorType type =
      contents.weight_format == WeightFormat::kBfloat16 ? TensorType::kBF16 : TensorType::kF32;
  std::vector<TensorToWrite> tensors;
  for (const ParameterView& view : contents.parameters)
    tensors.push_back({view.name, type, view.shape, view.master, view.count});
  return tensors;
}

std::vector<TensorToWrite> OptimizerTensors(const CheckpointContents& contents) {
  std::vector<TensorToWrite> tensors;
  const auto add = [&](const char* prefix, const ParameterView& view, const float* values) {
    if (values != nullptr)
      tensors.push_back({prefix + view.name, TensorType::kF32, view.shape, values, view.count});
  };
  for (const ParameterView& view : contents.parameters) {
    if (contents.weight_format == WeightFormat::kBfloat16) add("master.", view, view.master);
    add("moment1.", view, view.moment1);
    add("moment2.", view, view.moment2);
  }
  return tensors;
}

// Writes files into the folder and keeps the list of them for the manifest.
class FolderWriter {
 public:
  FolderWriter(std::filesystem::path folder, const PieceWritten& piece_written)
      : folder_(std::move(folder)), piece_written_(piece_written) {}

  Status Text(const std::string& path, std::string_view text) {
    const std::filesystem::path parent = (folder_ / path).parent_path();
    RETURN_IF_ERROR(MakeFolders(parent));
    ASSIGN_OR_RETURN(HashedFile file, HashedFile::Create(folder_ / path, piece_written_));
    RETURN_IF_ERROR(file.Write(text));
    ASSIGN_OR_RETURN(const FileDigest digest, file.Finish());
    RETURN_IF_ERROR(SyncPath(parent));
    return Add(path, digest);
  }
  Status Json(const std::string& path, const ordered_json& document) {
    return Text(path, document.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  }
  Status Tensors(const std::string& path, const std::vector<TensorToWrite>& tensors) {
    ASSIGN_OR_RETURN(const FileDigest digest,
                     WriteSafetensors(folder_ / path, tensors, piece_written_));
    return Add(path, digest);
  }
  const std::vector<ManifestFile>& files() const { return files_; }

 private:
  Status Add(const std::string& path, const FileDigest& digest) {
    files_.push_back({path, digest.sha256, digest.size});
    return OkStatus();
  }
  const std::filesystem::path folder_;
  const PieceWritten& piece_written_;
  std::vector<ManifestFile> files_;
};

ModelCard CardOf(const CheckpointContents& contents) {
  ModelCard card{contents.state.job, contents.state.step,       contents.state.update_count, 0,
                 contents.masked,    contents.data_description, contents.state.data_sha256};
  for (const ParameterView& view : contents.parameters) card.parameter_count += view.count;
  return card;
}

Status WriteTokenizer(const CheckpointContents& contents, FolderWriter& writer) {
  const TokenizerContents& tokenizer = contents.tokenizer;
  RETURN_IF_ERROR(writer.Text("tokenizer.json", tokenizer.tokenizer_json));
  for (const auto& [name, text] : tokenizer.files) {
    RETURN_IF_ERROR(CheckBlobKey(name));
    RETURN_IF_ERROR(writer.Text(name, text));
  }
  if (!tokenizer.files.contains("tokenizer_config.json"))
    RETURN_IF_ERROR(writer.Json("tokenizer_config.json", TokenizerConfigJson(tokenizer)));
  if (!contents.masked && !tokenizer.files.contains("generation_config.json"))
    RETURN_IF_ERROR(writer.Json("generation_config.json", GenerationConfigJson(tokenizer)));
  return OkStatus();
}

StatusOr<WrittenCheckpoint> WriteInto(const std::filesystem::path& folder,
                                      const CheckpointContents& contents,
                                      const PieceWritten& piece_written) {
  RETURN_IF_ERROR(MakeFolders(folder / "trainyard"));
  FolderWriter writer(folder, piece_written);
  RETURN_IF_ERROR(writer.Tensors(kWeights, WeightTensors(contents)));
  RETURN_IF_ERROR(writer.Json("config.json", contents.model_config));
  RETURN_IF_ERROR(WriteTokenizer(contents, writer));
  RETURN_IF_ERROR(writer.Text("README.md", ModelCardText(CardOf(contents))));
  RETURN_IF_ERROR(writer.Tensors(OptimizerPath(contents.engine), OptimizerTensors(contents)));
  RETURN_IF_ERROR(writer.Text(kStatePath, StateText(contents.state, contents.engine)));
  RETURN_IF_ERROR(SyncPath(folder));
  const CheckpointManifest manifest{contents.state.job, contents.state.attempt, contents.state.step,
                                    writer.files()};
  ASSIGN_OR_RETURN(std::string digest, WriteManifest(folder, manifest));
  RETURN_IF_ERROR(SyncPath(folder.has_parent_path() ? folder.parent_path() : "."));
  return WrittenCheckpoint{std::move(digest), manifest.total_bytes()};
}

// Fills the values that `values_of` names from the tensors called prefix + view's name. Those found
// are added to `used`.
template <class ValuesOf>
Status Fill(const SafetensorsFile& file, std::string_view file_name, const std::string& prefix,
            std::span<const ParameterView> parameters, ValuesOf values_of,
            std::set<std::string>* used, const std::function<Status(const TensorEntry&)>& tell) {
  for (const ParameterView& view : parameters) {
    float* values = values_of(view);
    if (values == nullptr) continue;
    const std::string name = prefix + view.name;
    const TensorEntry* tensor = file.Find(name);
    if (tensor == nullptr) return InvalidArgument("{} has no tensor {:?}", file_name, name);
    if (tensor->shape != view.shape)
      return InvalidArgument("{}: tensor {:?} has shape [{}], the model needs [{}]", file_name,
                             name, fmt::join(tensor->shape, ", "), fmt::join(view.shape, ", "));
    RETURN_IF_ERROR(
        file.ReadFloats(*tensor, 0, std::span(values, static_cast<size_t>(view.count))));
    used->insert(name);
    RETURN_IF_ERROR(tell(*tensor));
  }
  return OkStatus();
}

Status RefuseExtra(const SafetensorsFile& file, std::string_view file_name,
                   const std::set<std::string>& used) {
  for (const TensorEntry& tensor : file.tensors())
    if (!used.contains(tensor.name))
      return InvalidArgument("{} has a tensor {:?} that the model has not", file_name, tensor.name);
  return OkStatus();
}

// Tells `progress` of a file's tensors, one after the other.
std::function<Status(const TensorEntry&)> Counted(const SafetensorsFile& file,
                                                  const ReadProgress& progress) {
  if (!progress) return [](const TensorEntry&) { return OkStatus(); };
  int64_t total = 0;
  for (const TensorEntry& tensor : file.tensors()) total += tensor.bytes;
  return [progress, total, done = int64_t{0}](const TensorEntry& tensor) mutable {
    done += tensor.bytes;
    return progress("reading the optimiser's state", done, total);
  };
}

float* MasterOf(const ParameterView& view) { return view.master; }
float* Moment1Of(const ParameterView& view) { return view.moment1; }
float* Moment2Of(const ParameterView& view) { return view.moment2; }

bool HasTensorOf(const SafetensorsFile& file, std::string_view prefix) {
  for (const TensorEntry& tensor : file.tensors())
    if (tensor.name.starts_with(prefix)) return true;
  return false;
}

}  // namespace

StatusOr<WrittenCheckpoint> WriteCheckpoint(const std::filesystem::path& folder,
                                            const CheckpointContents& contents,
                                            const PieceWritten& piece_written) {
  RETURN_IF_ERROR(CheckBlobKey(contents.engine));
  if (folder.has_parent_path()) RETURN_IF_ERROR(MakeFolders(folder.parent_path()));
  if (::mkdir(folder.c_str(), 0700) != 0) {
    if (errno == EEXIST) return AlreadyExists("checkpoint folder {} exists", folder.string());
    return ErrnoStatus(errno, fmt::format("cannot make folder {}", folder.string()));
  }
  StatusOr<WrittenCheckpoint> written = WriteInto(folder, contents, piece_written);
  if (!written.ok()) {
    std::error_code ignored;  // what cannot be removed has no manifest, so it is never believed
    std::filesystem::remove_all(folder, ignored);
    return Annotate(written.status(), fmt::format("checkpoint {}", folder.string()));
  }
  return written;
}

Status ReadWeights(const std::filesystem::path& model, std::span<const ParameterView> parameters,
                   int threads, const ReadProgress& progress) {
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(model));
  return ReadWeightsOf(source, parameters, threads, progress);
}

StatusOr<TrainingState> ReadCheckpoint(const std::filesystem::path& folder,
                                       std::string_view manifest_digest, std::string_view engine,
                                       std::span<const ParameterView> parameters,
                                       const ReadProgress& progress) {
  RETURN_IF_ERROR(CheckBlobKey(engine));
  RETURN_IF_ERROR(VerifyCheckpoint(folder, manifest_digest, progress).status());
  RETURN_IF_ERROR(ReadWeights(folder, parameters, /*threads=*/1, progress));
  const std::filesystem::path path = folder / OptimizerPath(engine);
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  std::set<std::string> used;
  const auto tell = Counted(file, progress);
  if (HasTensorOf(file, "master."))
    RETURN_IF_ERROR(Fill(file, path.string(), "master.", parameters, MasterOf, &used, tell));
  RETURN_IF_ERROR(Fill(file, path.string(), "moment1.", parameters, Moment1Of, &used, tell));
  RETURN_IF_ERROR(Fill(file, path.string(), "moment2.", parameters, Moment2Of, &used, tell));
  RETURN_IF_ERROR(RefuseExtra(file, path.string(), used));
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kStatePath));
  StatusOr<TrainingState> state = ParseState(text, std::string(engine));
  if (!state.ok()) return Annotate(state.status(), (folder / kStatePath).string());
  return state;
}

}  // namespace trainyard::worker

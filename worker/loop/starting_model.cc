#include "worker/loop/starting_model.h"

#include <spdlog/spdlog.h>

#include <limits>
#include <system_error>

#include "common/files.h"
#include "common/job_spec/local_model.h"
#include "worker/checkpoint/model_source.h"
#include "worker/loop/outcome.h"
#include "worker/model_text/model_text.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;

Status WithErrno(const std::error_code& error, const fs::path& path) {
  return ErrnoStatus(error.value(), path.string());
}

// A folder with these files under their names.
Status LinkFiles(const RankContext& context, const std::vector<BlobRef>& files,
                 const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);  // of an earlier attempt
  if (error) return WithErrno(error, folder);
  RETURN_IF_ERROR(MakeFolders(folder));
  for (const BlobRef& file : files) {
    if (!IsModelFileName(file.name))
      return InvalidArgument("\"{}\" is no plain file name", file.name);
    RETURN_IF_ERROR(MakeFolders((folder / file.name).parent_path()));
    ASSIGN_OR_RETURN(const fs::path path, context.dataset_path(file));
    fs::create_symlink(fs::absolute(path), folder / file.name, error);
    if (error) return WithErrno(error, folder / file.name);
    context.link->Doing("finding the files of the model");
    if (context.link->stop() == link::StopMode::kNow) return StopRequested("the model is there");
  }
  return OkStatus();
}

Status ReadTokenizer(const fs::path& folder, StartingModel& model) {
  model.tokenizer_files.clear();
  model.tokenizer_json.clear();
  ASSIGN_OR_RETURN(std::vector<SmallFile> text, ReadTokenizerFolder(folder));
  for (SmallFile& file : text) {
    if (file.name == "tokenizer.json")
      model.tokenizer_json = std::move(file.text);
    else
      model.tokenizer_files[file.name] = std::move(file.text);
  }
  if (!model.tokenizer_json.empty()) return OkStatus();
  return NotFound("there is no tokenizer.json, and no vocabulary from before it");
}

// A tokenizer that is one file may have any name.
std::vector<BlobRef> UnderItsName(std::vector<BlobRef> files) {
  if (files.size() == 1)
    files[0].name = files[0].name.ends_with(".model") ? "tokenizer.model" : "tokenizer.json";
  return files;
}

Status OpenModel(const RankContext& context, StartingModel& model) {
  const std::vector<BlobRef>& files = context.spec.model.files;
  const fs::path folder = context.work_dir / "model";
  RETURN_IF_ERROR(LinkFiles(context, files, folder));
  const bool gguf = files.size() == 1 && files[0].name.ends_with(".gguf");
  model.path = gguf ? folder / files[0].name : folder;
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(model.path));
  model.config = source.config();
  for (const std::string& note : source.Notes(context.spec.kind != "evaluate")) {
    spdlog::warn("model.from: {}", note);
  }
  if (!context.spec.tokenizer.from.empty() || context.spec.tokenizer.train) return OkStatus();
  ASSIGN_OR_RETURN(std::vector<SmallFile> text, ReadModelText(source));
  for (SmallFile& file : text) {
    if (file.name == "tokenizer.json") {
      model.tokenizer_json = std::move(file.text);
    } else if (file.name != "README.md") {  // a checkpoint has its own
      model.tokenizer_files[file.name] = std::move(file.text);
    }
  }
  model.own_tokenizer = true;
  if (!model.tokenizer_json.empty()) return OkStatus();
  return NotFound("the model brings no tokenizer.json: give tokenizer.from");
}

Status InField(const Status& status, std::string_view field) {
  return status.ok() ? status : WithField(Annotate(status, field), field);
}

}  // namespace

int32_t StartingModel::token(const char* key) const {
  if (!own_tokenizer || !config.contains(key)) return -1;
  const nlohmann::json& value = config.at(key);
  const nlohmann::json& id = value.is_array() && !value.empty() ? value.at(0) : value;
  const bool fits = id.is_number_integer() && id.get<int64_t>() >= 0 &&
                    id.get<int64_t>() <= std::numeric_limits<int32_t>::max();
  return fits ? id.get<int32_t>() : -1;
}

StatusOr<StartingModel> OpenStartingModel(const RankContext& context) {
  StartingModel model;
  const JobSpec& spec = context.spec;
  if (!spec.model.from.empty()) {
    RETURN_IF_ERROR(InField(OpenModel(context, model), "model.from"));
    spdlog::info("model_from={} files={}", spec.model.from, spec.model.files.size());
  }
  if (!spec.tokenizer.from.empty()) {
    const fs::path folder = context.work_dir / "tokenizer";
    Status opened = LinkFiles(context, UnderItsName(spec.tokenizer.files), folder);
    if (opened.ok()) opened = ReadTokenizer(folder, model);
    RETURN_IF_ERROR(InField(opened, "tokenizer.from"));
  }
  return model;
}

}  // namespace trainyard::worker

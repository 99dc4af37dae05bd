#include "worker/tool/open_model.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/model/config.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/model_source.h"
#include "worker/model_text/model_text.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;

StatusOr<std::unique_ptr<Engine>> OpenEngine(const ModelSource& source,
                                             const OpenOptions& options) {
  StatusOr<ModelConfig> config = ModelConfigFromJson(json(source.config()));
  if (!config.ok()) return Annotate(config.status(), source.path().string());
  SayNotes(source);
  ASSIGN_OR_RETURN(
      std::unique_ptr<Engine> engine,
      Engine::Create(*config, {.precision = options.precision == "bf16" ? Precision::kBfloat16
                                                                        : Precision::kFloat32,
                               .threads = options.threads,
                               .learns = false}));
  ASSIGN_OR_RETURN(const auto parameters, engine->Parameters());
  RETURN_IF_ERROR(ReadWeights(source.path(), parameters));
  RETURN_IF_ERROR(engine->WeightsChanged());
  return engine;
}

// The text of a file of the model; empty when it has none.
std::optional<std::string_view> Text(const std::vector<SmallFile>& files, std::string_view name) {
  const std::string* found = FindFile(files, name);
  return found == nullptr ? std::nullopt : std::optional<std::string_view>(*found);
}

StatusOr<std::optional<ChatTemplate>> OpenTemplate(const std::vector<SmallFile>& files) {
  const StatusOr<std::string> source = ChatTemplateOf(files);
  if (absl::IsNotFound(source.status())) return std::optional<ChatTemplate>();
  RETURN_IF_ERROR(source.status());
  ASSIGN_OR_RETURN(ChatTemplate compiled, ChatTemplate::Compile(*source));
  return std::optional<ChatTemplate>(std::move(compiled));
}

// Those of config.json and of generation_config.json, which may list several.
std::vector<int32_t> EndIds(const ModelConfig& config, const std::vector<SmallFile>& files) {
  std::vector<int32_t> ids;
  const auto add = [&](const json& id) {
    if (!id.is_number_integer()) return;
    const auto number = id.get<int64_t>();
    if (number < 0 || number >= config.vocab_size) return;
    if (std::find(ids.begin(), ids.end(), number) == ids.end()) {
      ids.push_back(static_cast<int32_t>(number));
    }
  };
  if (config.eos_id >= 0) add(config.eos_id);
  if (const auto text = Text(files, "generation_config.json")) {
    const json generation = json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (generation.is_object() && generation.contains("eos_token_id")) {
      const json& end = generation["eos_token_id"];
      if (!end.is_array()) add(end);
      if (end.is_array()) std::for_each(end.begin(), end.end(), add);
    }
  }
  return ids;
}

}  // namespace

StatusOr<OpenedModel> OpenModel(const std::filesystem::path& ref, const OpenOptions& options) {
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(ref));
  ASSIGN_OR_RETURN(const std::vector<SmallFile> files, ReadModelText(source));
  const std::string* tokenizer_json = FindFile(files, "tokenizer.json");
  if (tokenizer_json == nullptr) {
    return NotFound("{} has no tokenizer.json: without it the model's ids are no text",
                    ref.string());
  }
  StatusOr<Tokenizer> tokenizer = Tokenizer::Load(*tokenizer_json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), (ref / "tokenizer.json").string());
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(source, options));
  RETURN_IF_ERROR(CheckVocabulary(files, engine->config().vocab_size));
  StatusOr<std::optional<ChatTemplate>> chat_template = OpenTemplate(files);
  if (!chat_template.ok()) return Annotate(chat_template.status(), ref.string());
  ASSIGN_OR_RETURN(std::string variables, TemplateVariables(TokenFilesOf(files)));
  std::vector<int32_t> end_ids = EndIds(engine->config(), files);
  return OpenedModel{.engine = std::move(engine),
                     .tokenizer = *std::move(tokenizer),
                     .chat_template = *std::move(chat_template),
                     .template_variables = std::move(variables),
                     .end_ids = std::move(end_ids)};
}

}  // namespace trainyard::worker

#include "worker/tool/open_model.h"

#include <future>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/model/config.h"
#include "worker/checkpoint/model_source.h"
#include "worker/checkpoint/read_weights.h"
#include "worker/model_text/end_tokens.h"
#include "worker/model_text/model_text.h"
#include "worker/tool/answer_format.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;

StatusOr<std::unique_ptr<Engine>> OpenEngine(const ModelSource& source,
                                             const OpenOptions& options) {
  StatusOr<ModelConfig> config = ModelConfigFromJson(json(source.config()));
  if (!config.ok()) return Annotate(config.status(), source.path().string());
  SayNotes(source);
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                   Engine::Create(*config, {.precision = AnswerFormat(*config, options),
                                            .threads = options.threads,
                                            .learns = false}));
  ASSIGN_OR_RETURN(const auto parameters, engine->Parameters());
  RETURN_IF_ERROR(ReadWeightsOf(source, parameters, options.threads));
  RETURN_IF_ERROR(engine->WeightsChanged());
  return engine;
}

// The template that the files have; with_tools: for conversations with tools, nothing where that is
// the same.
StatusOr<std::optional<ChatTemplate>> OpenTemplate(const std::vector<SmallFile>& files,
                                                   bool with_tools) {
  const StatusOr<std::string> source = ChatTemplateOf(files, with_tools);
  if (absl::IsNotFound(source.status())) return std::optional<ChatTemplate>();
  RETURN_IF_ERROR(source.status());
  if (const auto plain = ChatTemplateOf(files); with_tools && plain.ok() && *plain == *source)
    return std::optional<ChatTemplate>();
  ASSIGN_OR_RETURN(ChatTemplate compiled, ChatTemplate::Compile(*source));
  return std::optional<ChatTemplate>(std::move(compiled));
}

// What a model is beside its weights.
struct ModelText {
  Tokenizer tokenizer;
  std::optional<ChatTemplate> chat_template, tool_template;
  std::string variables;
  std::vector<int32_t> end_ids;
};

StatusOr<ModelText> OpenText(const ModelSource& source) {
  const std::filesystem::path& ref = source.path();
  ASSIGN_OR_RETURN(const std::vector<SmallFile> files, ReadModelText(source));
  const std::string* tokenizer_json = FindFile(files, "tokenizer.json");
  if (tokenizer_json == nullptr) {
    return NotFound("{} has no tokenizer.json: without it the model's ids are no text",
                    ref.string());
  }
  StatusOr<Tokenizer> tokenizer = Tokenizer::Load(*tokenizer_json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), (ref / "tokenizer.json").string());
  StatusOr<std::optional<ChatTemplate>> chat_template = OpenTemplate(files, /*with_tools=*/false);
  if (!chat_template.ok()) return Annotate(chat_template.status(), ref.string());
  StatusOr<std::optional<ChatTemplate>> tool_template = OpenTemplate(files, /*with_tools=*/true);
  if (!tool_template.ok()) return Annotate(tool_template.status(), ref.string());
  ASSIGN_OR_RETURN(std::string variables, TemplateVariables(TokenFilesOf(files)));
  std::vector<int32_t> end_ids =
      EndTokens(source.config(), files, *tokenizer, std::numeric_limits<int32_t>::max(),
                chat_template->has_value() ? &**chat_template : nullptr, variables);
  return ModelText{.tokenizer = *std::move(tokenizer),
                   .chat_template = *std::move(chat_template),
                   .tool_template = *std::move(tool_template),
                   .variables = std::move(variables),
                   .end_ids = std::move(end_ids)};
}

}  // namespace

StatusOr<OpenedModel> OpenModel(const std::filesystem::path& ref, const OpenOptions& options) {
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(ref));
  // The tokenizer is made beside the weights.
  std::future<StatusOr<ModelText>> beside =
      std::async(std::launch::async, [&source] { return OpenText(source); });
  StatusOr<std::unique_ptr<Engine>> engine = OpenEngine(source, options);
  ASSIGN_OR_RETURN(ModelText text, beside.get());
  RETURN_IF_ERROR(engine.status());
  const int64_t rows = (*engine)->config().vocab_size;
  RETURN_IF_ERROR(CheckVocabulary(text.tokenizer, rows));
  std::erase_if(text.end_ids, [rows](int32_t id) { return id >= rows; });
  return OpenedModel{.engine = *std::move(engine),
                     .tokenizer = std::move(text.tokenizer),
                     .chat_template = std::move(text.chat_template),
                     .tool_template = std::move(text.tool_template),
                     .template_variables = std::move(text.variables),
                     .end_ids = std::move(text.end_ids)};
}

}  // namespace trainyard::worker

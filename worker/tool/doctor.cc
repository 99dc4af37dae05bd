#include "worker/tool/doctor.h"

#include <algorithm>
#include <cstdio>
#include <regex>
#include <set>

#include "common/model/layout.h"
#include "worker/checkpoint/model_source.h"
#include "worker/model_text/end_tokens.h"
#include "worker/model_text/model_text.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;
using Severity = Finding::Severity;

// A special token of tokenizer_config.json is a text or an object with "content".
std::optional<std::string> TokenText(const json& config, const std::string& key) {
  if (!config.is_object() || !config.contains(key)) return std::nullopt;
  const json& token = config[key];
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string()) {
    return token["content"].get<std::string>();
  }
  return std::nullopt;
}

std::set<int64_t> IdsOf(const json& config, const std::string& key) {
  std::set<int64_t> ids;
  if (!config.is_object() || !config.contains(key)) return ids;
  const json& value = config[key];
  if (value.is_number_integer()) ids.insert(value.get<int64_t>());
  if (!value.is_array()) return ids;
  for (const json& id : value) {
    if (id.is_number_integer()) ids.insert(id.get<int64_t>());
  }
  return ids;
}

bool EndsAnAnswer(const ModelParts& parts, int32_t id) {
  return std::find(parts.end_ids.begin(), parts.end_ids.end(), id) != parts.end_ids.end();
}

// Whether `id` is one of several that the files name for this token.
bool IsNamedToo(const ModelParts& parts, const std::string& name, int32_t id) {
  if (name == "eos") return EndsAnAnswer(parts, id);
  return IdsOf(parts.generation_config, name + "_token_id").contains(id);
}

// One of bos, eos, pad in all the files that name it.
void CheckToken(const ModelParts& parts, const std::string& name, int32_t config_id,
                std::vector<Finding>& findings) {
  const std::optional<std::string> text = TokenText(parts.tokenizer_config, name + "_token");
  if (!text.has_value()) return;
  const std::optional<int32_t> id = parts.tokenizer->TokenToId(*text);
  if (!id.has_value()) {
    findings.push_back({Severity::kProblem,
                        fmt::format("tokenizer_config.json names {}_token {:?}, which the "
                                    "tokenizer does not have",
                                    name, *text),
                        "add it to tokenizer.json's added_tokens, or name one that is there"});
    return;
  }
  if (config_id >= 0 && config_id != *id && !IsNamedToo(parts, name, *id)) {
    findings.push_back(
        {name == "eos" ? Severity::kProblem : Severity::kNote,
         fmt::format("{}_token is {:?} with id {}, but config.json's {}_token_id is {}", name,
                     *text, *id, name, config_id),
         fmt::format("make {}_token_id {} in config.json or generation_config.json", name, *id)});
  }
}

constexpr char kConversation[] =
    R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])";

// "<|im_start|>" and its like in a text.
std::set<std::string> TokensSpelledOut(const std::string& text) {
  static const std::regex kSpelled(R"(<\|[^|<>\s]{1,40}\|>|<[a-z_]{1,30}_of_turn>|\[/?INST\])");
  std::set<std::string> found;
  for (auto at = std::sregex_iterator(text.begin(), text.end(), kSpelled);
       at != std::sregex_iterator(); ++at) {
    found.insert(at->str());
  }
  return found;
}

void CheckEndOfTurn(const ModelParts& parts, const std::string& rendered,
                    std::vector<Finding>& findings) {
  const size_t answer = rendered.rfind("Hello");
  if (answer == std::string::npos) return;
  const auto ids =
      parts.tokenizer->Encode(rendered.substr(answer + 5), {.parse_special_tokens = true});
  if (!ids.ok()) return;
  const bool stops =
      std::any_of(ids->begin(), ids->end(), [&](int32_t id) { return EndsAnAnswer(parts, id); });
  if (stops) return;
  findings.push_back(
      {Severity::kProblem,
       "the template ends the assistant's turn with nothing that ends an answer in these files: "
       "programs that go by them alone go on and speak for the user",
       "add the turn's last token to eos_token_id in generation_config.json"});
}

void CheckDoubleBos(const ModelParts& parts, const std::string& rendered,
                    std::vector<Finding>& findings) {
  const auto ids =
      parts.tokenizer->Encode(rendered, {.add_special_tokens = true, .parse_special_tokens = true});
  if (!ids.ok() || ids->size() < 2) return;
  const std::optional<std::string> bos = TokenText(parts.tokenizer_config, "bos_token");
  const std::optional<int32_t> id =
      bos.has_value() ? parts.tokenizer->TokenToId(*bos) : std::nullopt;
  if (!id.has_value() || (*ids)[0] != *id || (*ids)[1] != *id) return;
  findings.push_back(
      {Severity::kNote,
       fmt::format("the template writes {:?}, and the tokenizer adds another when it is asked for "
                   "special tokens",
                   *bos),
       "tokenize rendered conversations without special tokens, as Trainyard does"});
}

std::vector<Finding> CheckWeights(const ModelSource& source, const ModelConfig& config) {
  std::vector<Finding> findings;
  for (const ParameterSpec& spec : ParameterLayout(config)) {
    const SourceTensor* tensor = source.Find(spec.name);
    if (tensor == nullptr) {
      findings.push_back({Severity::kProblem, fmt::format("tensor {:?} is missing", spec.name),
                          spec.name == config.family().names.head
                              ? "say tie_word_embeddings: true in config.json if the head is the "
                                "embedding's"
                              : "take the model from its source again"});
    } else if (tensor->shape != spec.shape) {
      findings.push_back(
          {Severity::kProblem,
           fmt::format("tensor {:?} has shape [{}], config.json asks for [{}]", spec.name,
                       fmt::join(tensor->shape, ", "), fmt::join(spec.shape, ", ")),
           "correct config.json, or take the model from its source again"});
    }
  }
  return findings;
}

json ParsedOrNull(const std::vector<SmallFile>& files, const char* name) {
  const std::string* text = FindFile(files, name);
  if (text == nullptr) return nullptr;
  json parsed = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded() ? json() : parsed;
}

void Append(std::vector<Finding>& findings, std::vector<Finding> more) {
  findings.insert(findings.end(), more.begin(), more.end());
}

// What reading the template itself comes to.
StatusOr<ChatTemplate> OpenTemplate(const std::vector<SmallFile>& files) {
  ASSIGN_OR_RETURN(const std::string source, ChatTemplateOf(files));
  return ChatTemplate::Compile(source);
}

StatusOr<std::vector<Finding>> Examine(const std::filesystem::path& ref) {
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(ref));
  ASSIGN_OR_RETURN(const ModelConfig config, ModelConfigFromJson(json(source.config())));
  std::vector<Finding> findings = CheckWeights(source, config);
  for (const std::string& note : source.Notes()) {
    findings.push_back({Severity::kNote, note, "nothing, if that is what is meant"});
  }
  ASSIGN_OR_RETURN(const std::vector<SmallFile> files, ReadModelText(source));
  const std::string* tokenizer_json = FindFile(files, "tokenizer.json");
  if (tokenizer_json == nullptr) {
    findings.push_back({Severity::kProblem, "there is no tokenizer.json",
                        "put the tokenizer's file beside the weights"});
    return findings;
  }
  const StatusOr<Tokenizer> tokenizer = Tokenizer::Load(*tokenizer_json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), "tokenizer.json");
  ModelParts parts{.config = &config,
                   .tokenizer_config = ParsedOrNull(files, "tokenizer_config.json"),
                   .generation_config = ParsedOrNull(files, "generation_config.json"),
                   .end_ids = EndTokens(source.config(), files, *tokenizer, config.vocab_size,
                                        /*chat_template=*/nullptr, /*variables=*/{}),
                   .tokenizer = &*tokenizer};
  Append(findings, CheckSpecialTokens(parts));
  const StatusOr<ChatTemplate> chat_template = OpenTemplate(files);
  if (absl::IsNotFound(chat_template.status())) {
    findings.push_back({Severity::kNote, "there is no chat template",
                        "add chat_template.jinja if the model is to hold conversations"});
    return findings;
  }
  if (!chat_template.ok()) {
    findings.push_back(
        {Severity::kProblem, MessageOf(chat_template.status()), "correct chat_template.jinja"});
    return findings;
  }
  parts.chat_template = &*chat_template;
  ASSIGN_OR_RETURN(parts.template_variables, TemplateVariables(TokenFilesOf(files)));
  Append(findings, CheckTemplate(parts));
  return findings;
}

}  // namespace

std::vector<Finding> CheckSpecialTokens(const ModelParts& parts) {
  std::vector<Finding> findings;
  const ModelConfig& config = *parts.config;
  const int64_t ids = parts.tokenizer->vocab_size();
  if (ids > config.vocab_size) {
    findings.push_back(
        {Severity::kProblem,
         fmt::format("the tokenizer has {} ids, the embedding {} rows", ids, config.vocab_size),
         "use the tokenizer that the model was trained with"});
  } else if (ids < config.vocab_size) {
    findings.push_back({Severity::kNote,
                        fmt::format("the embedding has {} rows more than the tokenizer has ids",
                                    config.vocab_size - ids),
                        "nothing: many models pad their embedding"});
  }
  if (config.family().causal && parts.end_ids.empty()) {
    findings.push_back({Severity::kProblem, "no eos_token_id: answers end only at their longest",
                        "set eos_token_id in generation_config.json"});
  }
  CheckToken(parts, "bos", config.bos_id, findings);
  CheckToken(parts, "eos", config.eos_id, findings);
  CheckToken(parts, "pad", config.pad_id, findings);
  const auto pad = TokenText(parts.tokenizer_config, "pad_token");
  if (pad.has_value() && pad == TokenText(parts.tokenizer_config, "eos_token")) {
    findings.push_back({Severity::kNote,
                        fmt::format("pad_token and eos_token are both {:?}: a trainer that masks "
                                    "the pad never trains the end",
                                    *pad),
                        "nothing for Trainyard, which packs and does not pad"});
  }
  return findings;
}

std::vector<Finding> CheckTemplate(const ModelParts& parts) {
  std::vector<Finding> findings;
  const auto rendered = parts.chat_template->Render(
      {.messages = kConversation, .variables = parts.template_variables, .now = absl::UnixEpoch()});
  if (!rendered.ok()) {
    findings.push_back(
        {Severity::kProblem,
         fmt::format("the template refuses a plain conversation: {}", MessageOf(rendered.status())),
         "correct chat_template.jinja"});
    return findings;
  }
  for (const std::string& token : TokensSpelledOut(*rendered)) {
    if (parts.tokenizer->TokenToId(token).has_value()) continue;
    findings.push_back(
        {Severity::kProblem,
         fmt::format("the template writes {:?}, which is no token: the model would "
                     "see it letter by letter",
                     token),
         "add it to tokenizer.json's added_tokens, or use the model's own template"});
  }
  CheckDoubleBos(parts, *rendered, findings);
  CheckEndOfTurn(parts, *rendered, findings);
  return findings;
}

StatusOr<int> ExamineModel(const std::filesystem::path& ref) {
  ASSIGN_OR_RETURN(const std::vector<Finding> findings, Examine(ref));
  int problems = 0;
  for (const Finding& finding : findings) {
    const bool problem = finding.severity == Severity::kProblem;
    problems += problem ? 1 : 0;
    std::printf("%-8s %s\n         %s\n", problem ? "problem" : "note", finding.what.c_str(),
                finding.remedy.c_str());
  }
  std::printf("%s: %d problem%s, %d note%s\n", ref.string().c_str(), problems,
              problems == 1 ? "" : "s", static_cast<int>(findings.size()) - problems,
              static_cast<int>(findings.size()) - problems == 1 ? "" : "s");
  return problems;
}

}  // namespace trainyard::worker

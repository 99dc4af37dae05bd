// The text library for tests in Python: one JSON request a line on standard input, one answer a
// line on standard output. An answer with "error" has the status's code and message.
//
//   {"do": "tokenizer", "path": P}     loads a tokenizer.json; later requests use it
//   {"do": "template", "source": S}    compiles a chat template; later requests use it
//   {"do": "chat", "messages": M, "tools": T, "variables": V, "prompt": B, "now": SECONDS,
//    "spans": B}                       M, T, V are JSON texts; spans: also bytes, ids and mask
//   {"do": "encode", "texts": [T], "parse": B, "add": B}   ids of each
//   {"do": "gguf", "vocabulary": {...}, "to": P}           writes the tokenizer.json it says
//   {"do": "to_gguf", "path": P, "special": {"bos": ID}}   the vocabulary of a tokenizer.json
//   {"do": "legacy", "files": {"vocab_txt": P}, "to": P}   writes the tokenizer.json they say
//   {"do": "lines", "path": P, "to": Q, "parse": B}        of each text of a JSON list: writes ids
//   and
//                                                          what they decode to; streams agree
//   {"do": "encode_hex", "hex": "616263ff"}                bytes that may be no text
//   {"do": "train", "kind": K, "texts": [P], "size": N, "special": [T], "to": P}
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "common/files.h"
#include "worker/text/chat_template.h"
#include "worker/text/gguf_vocabulary.h"
#include "worker/text/legacy_vocabulary.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::json;

template <class T>
std::optional<T> Optional(const Json& object, const char* key) {
  return object.contains(key) ? std::optional<T>(object[key].get<T>()) : std::nullopt;
}

GgufVocabulary VocabularyOf(const Json& json) {
  GgufVocabulary made{.model = json.value("model", ""), .pre = json.value("pre", "")};
  made.tokens = json.value("tokens", made.tokens);
  made.token_types = json.value("token_types", made.token_types);
  made.scores = json.value("scores", made.scores);
  made.merges = json.value("merges", made.merges);
  made.bos_id = Optional<int32_t>(json, "bos_id");
  made.eos_id = Optional<int32_t>(json, "eos_id");
  made.unk_id = Optional<int32_t>(json, "unk_id");
  made.sep_id = Optional<int32_t>(json, "sep_id");
  made.pad_id = Optional<int32_t>(json, "pad_id");
  made.cls_id = Optional<int32_t>(json, "cls_id");
  made.add_bos = Optional<bool>(json, "add_bos");
  made.add_eos = Optional<bool>(json, "add_eos");
  made.add_space_prefix = Optional<bool>(json, "add_space_prefix");
  return made;
}

Json JsonOf(const GgufVocabulary& made) {
  Json json = {{"model", made.model},   {"pre", made.pre},
               {"tokens", made.tokens}, {"token_types", made.token_types},
               {"scores", made.scores}, {"merges", made.merges}};
  const std::pair<const char*, std::optional<int32_t>> ids[] = {
      {"bos_id", made.bos_id}, {"eos_id", made.eos_id}, {"unk_id", made.unk_id},
      {"sep_id", made.sep_id}, {"pad_id", made.pad_id}, {"cls_id", made.cls_id}};
  for (const auto& [name, id] : ids)
    if (id.has_value()) json[name] = *id;
  const std::pair<const char*, std::optional<bool>> flags[] = {
      {"add_bos", made.add_bos},
      {"add_eos", made.add_eos},
      {"add_space_prefix", made.add_space_prefix}};
  for (const auto& [name, flag] : flags)
    if (flag.has_value()) json[name] = *flag;
  return json;
}

class Peer {
 public:
  StatusOr<Json> Answer(const Json& request) {
    const std::string what = request.value("do", "");
    if (what == "tokenizer") return LoadTokenizer(request);
    if (what == "template") return CompileTemplate(request);
    if (what == "chat") return Chat(request);
    if (what == "encode") return Encode(request);
    if (what == "lines") return Lines(request);
    if (what == "encode_hex") return EncodeHex(request);
    if (what == "train") return Train(request);
    if (what == "gguf") return FromGguf(request);
    if (what == "to_gguf") return ToGguf(request);
    if (what == "legacy") return FromLegacy(request);
    return InvalidArgument("no request is called {}", what);
  }

 private:
  StatusOr<Json> LoadTokenizer(const Json& request) {
    ASSIGN_OR_RETURN(const std::string json, ReadFile(request.value("path", "")));
    ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(json));
    tokenizer_.emplace(std::move(tokenizer));
    return Json{{"vocab_size", tokenizer_->vocab_size()}};
  }

  StatusOr<Json> CompileTemplate(const Json& request) {
    ASSIGN_OR_RETURN(ChatTemplate compiled, ChatTemplate::Compile(request.value("source", "")));
    template_.emplace(std::move(compiled));
    return Json{{"marks_generation", template_->marks_generation()}};
  }

  StatusOr<Json> Chat(const Json& request) {
    if (!template_.has_value()) return FailedPrecondition("no template was compiled");
    const std::string messages = request.value("messages", "[]");
    const std::string tools = request.value("tools", "");
    const std::string variables = request.value("variables", "");
    ChatInput input = {.messages = messages, .tools = tools, .variables = variables};
    input.add_generation_prompt = request.value("prompt", false);
    if (request.contains("now")) input.now = absl::FromUnixSeconds(request.value("now", 0));
    if (!request.value("spans", false)) {
      ASSIGN_OR_RETURN(const std::string text, template_->Render(input));
      return Json{{"text", text}};
    }
    if (!tokenizer_.has_value()) return FailedPrecondition("no tokenizer was loaded");
    ASSIGN_OR_RETURN(const RenderedChat chat, template_->RenderWithSpans(input));
    ASSIGN_OR_RETURN(const TokenizedChat tokens, TokenizeChat(*tokenizer_, chat));
    Json spans = Json::array();
    for (const TextRange& range : chat.generated)
      spans.push_back(Json::array({range.begin, range.end}));
    return Json{
        {"text", chat.text}, {"spans", spans}, {"ids", tokens.ids}, {"trained", tokens.trained}};
  }

  StatusOr<Json> Encode(const Json& request) {
    if (!tokenizer_.has_value()) return FailedPrecondition("no tokenizer was loaded");
    Json ids = Json::array();
    for (const Json& text : request["texts"]) {
      ASSIGN_OR_RETURN(const auto encoded,
                       tokenizer_->Encode(text.get<std::string>(),
                                          {.add_special_tokens = request.value("add", false),
                                           .parse_special_tokens = request.value("parse", true)}));
      ids.push_back(encoded);
    }
    return Json{{"ids", ids}};
  }

  // What a stream gives, part by part.
  StatusOr<std::string> Streamed(std::span<const int32_t> ids) const {
    DecodeStream stream = tokenizer_->StartDecoding();
    std::string joined;
    for (const int32_t id : ids) {
      ASSIGN_OR_RETURN(const std::string part, stream.Step(id));
      if (FindInvalidUtf8(part) != std::string::npos) return Internal("half a character");
      joined += part;
    }
    ASSIGN_OR_RETURN(const std::string rest, stream.Finish());
    return joined + rest;
  }

  StatusOr<Json> Lines(const Json& request) {
    if (!tokenizer_.has_value()) return FailedPrecondition("no tokenizer was loaded");
    ASSIGN_OR_RETURN(const std::string json, ReadFile(request.value("path", "")));
    const auto lines = Json::parse(json).get<std::vector<std::string>>();
    const std::vector<std::string_view> views(lines.begin(), lines.end());
    ASSIGN_OR_RETURN(
        const EncodedTexts encoded,
        tokenizer_->EncodeAll(views, {.parse_special_tokens = request.value("parse", true)}));
    Json ids = Json::array(), decoded = Json::array();
    size_t begin = 0, streamed = 0;
    for (const size_t end : encoded.ends) {
      const std::span<const int32_t> of_line(encoded.ids.data() + begin, end - begin);
      ASSIGN_OR_RETURN(const std::string whole, tokenizer_->Decode(of_line));
      ASSIGN_OR_RETURN(const std::string parts, Streamed(of_line));
      streamed += parts == whole ? 1 : 0;
      ids.push_back(of_line);
      decoded.push_back(whole);
      begin = end;
    }
    const Json answer = {{"ids", ids}, {"decoded", decoded}};
    RETURN_IF_ERROR(WriteFileAtomically(request.value("to", ""), answer.dump()));
    return Json{{"lines", encoded.ends.size()}, {"streamed", streamed}};
  }

  StatusOr<Json> EncodeHex(const Json& request) {
    if (!tokenizer_.has_value()) return FailedPrecondition("no tokenizer was loaded");
    const std::string hex = request.value("hex", "");
    std::string bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    ASSIGN_OR_RETURN(const auto ids, tokenizer_->Encode(bytes));
    return Json{{"ids", ids}};
  }

  StatusOr<Json> Train(const Json& request) {
    ASSIGN_OR_RETURN(const TokenizerKind kind, TokenizerKindNamed(request.value("kind", "")));
    TokenizerTrainer trainer({.kind = kind});
    for (const Json& path : request["texts"]) {
      ASSIGN_OR_RETURN(const std::string text, ReadFile(path.get<std::string>()));
      const std::string_view view = text;
      RETURN_IF_ERROR(trainer.Feed({&view, 1}));
    }
    TokenizerTrainingOptions options{.vocab_size = request.value("size", 0)};
    options.special_tokens = request["special"].get<std::vector<std::string>>();
    ASSIGN_OR_RETURN(const Tokenizer tokenizer, trainer.Finish(options));
    RETURN_IF_ERROR(WriteFileAtomically(request.value("to", ""), tokenizer.json()));
    return Json::object();
  }

  StatusOr<Json> FromGguf(const Json& request) {
    ASSIGN_OR_RETURN(const std::string json,
                     TokenizerJsonFromGguf(VocabularyOf(request["vocabulary"])));
    RETURN_IF_ERROR(WriteFileAtomically(request.value("to", ""), json));
    return Json::object();
  }

  StatusOr<Json> ToGguf(const Json& request) {
    ASSIGN_OR_RETURN(const std::string json, ReadFile(request.value("path", "")));
    const Json& special = request["special"];
    ASSIGN_OR_RETURN(const GgufVocabulary vocabulary,
                     GgufFromTokenizerJson(json, {.bos = Optional<int32_t>(special, "bos"),
                                                  .eos = Optional<int32_t>(special, "eos"),
                                                  .unk = Optional<int32_t>(special, "unk"),
                                                  .sep = Optional<int32_t>(special, "sep"),
                                                  .pad = Optional<int32_t>(special, "pad"),
                                                  .cls = Optional<int32_t>(special, "cls")}));
    return JsonOf(vocabulary);
  }

  StatusOr<Json> FromLegacy(const Json& request) {
    std::map<std::string, std::string> texts;
    for (const auto& [name, path] : request["files"].items()) {
      ASSIGN_OR_RETURN(texts[name], ReadFile(path.get<std::string>()));
    }
    const auto text = [&](const char* name) {
      return texts.contains(name) ? std::optional<std::string_view>(texts[name]) : std::nullopt;
    };
    const std::string model_type = request.value("model_type", "");
    ASSIGN_OR_RETURN(
        const LegacyTokenizer made,
        TokenizerJsonFromLegacy({.vocab_json = text("vocab.json"),
                                 .merges_txt = text("merges.txt"),
                                 .vocab_txt = text("vocab.txt"),
                                 .tokenizer_model = text("tokenizer.model"),
                                 .tokens = {.tokenizer_config = text("tokenizer_config.json"),
                                            .special_tokens_map = text("special_tokens_map.json"),
                                            .added_tokens = text("added_tokens.json")},
                                 .model_type = model_type}));
    RETURN_IF_ERROR(WriteFileAtomically(request.value("to", ""), made.tokenizer_json));
    return Json{{"special_tokens", made.special_tokens}, {"notes", made.notes}};
  }

  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
};

Json AnswerLine(Peer& peer, const std::string& line) {
  const Json request = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  StatusOr<Json> answer = InvalidArgument("the line is not a JSON object");
  if (request.is_object()) answer = peer.Answer(request);
  if (answer.ok()) return *std::move(answer);
  return Json{{"error", MessageOf(answer.status())},
              {"code", absl::StatusCodeToString(answer.status().code())}};
}

}  // namespace
}  // namespace trainyard::worker

int main() {
  trainyard::worker::Peer peer;
  for (std::string line; std::getline(std::cin, line);)
    std::cout << trainyard::worker::AnswerLine(peer, line).dump() << std::endl;
  return 0;
}

#include "worker/data/masking_vocabulary.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr std::array<std::string_view, 3> kMaskNames = {"[MASK]", "<mask>", "<|mask|>"};
constexpr size_t kAroundMax = 16;

struct Spelling {
  bool word_piece = false;
  bool byte_level = false;
  std::string continuing_prefix;  // WordPiece's "##"
};

StatusOr<Spelling> SpellingOf(const std::string& tokenizer_json) {
  const auto json = nlohmann::json::parse(tokenizer_json, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("model") || !json["model"].is_object())
    return InvalidArgument("tokenizer.json has no model");
  const auto& model = json["model"];
  const auto text_of = [&](const char* key) {
    return model.contains(key) && model[key].is_string() ? model[key].get<std::string>()
                                                         : std::string();
  };
  Spelling spelling;
  spelling.word_piece = text_of("type") == "WordPiece";
  if (spelling.word_piece) spelling.continuing_prefix = text_of("continuing_subword_prefix");
  // Alone or in a sequence.
  for (const char* part : {"decoder", "pre_tokenizer"})
    if (json.contains(part) && json[part].dump().find("\"ByteLevel\"") != std::string::npos)
      spelling.byte_level = true;
  return spelling;
}

// The first and the last character of valid UTF-8, as code points.
uint32_t CodePointAt(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[i])); };
  const uint32_t first = byte(at);
  const size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
  if (more == 0 || at + more >= text.size()) return first;
  uint32_t code = first & (0x3Fu >> more);
  for (size_t i = 1; i <= more; ++i) code = code << 6 | (byte(at + i) & 0x3F);
  return code;
}

size_t LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

// A letter or digit; beyond ASCII everything counts as one but the marks of tokenizers.
bool IsLetter(uint32_t code, bool byte_level) {
  if (code < 0x80)
    return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') ||
           (code >= '0' && code <= '9');
  if (code == 0x2581) return false;  // SentencePiece's space
  // GPT-2's alphabet moves the bytes 0 to 32, white space among them, to U+0100 and on.
  return !(byte_level && code >= 0x100 && code <= 0x120);
}

uint8_t TraitsOf(const std::string& token, const Spelling& spelling) {
  uint8_t traits = kOrdinary;
  if (token.empty()) return traits;
  if (spelling.word_piece) {
    const std::string& prefix = spelling.continuing_prefix;
    const bool continues =
        !prefix.empty() && token.size() > prefix.size() && token.starts_with(prefix);
    return continues ? traits | kContinuesWord : traits;
  }
  if (IsLetter(CodePointAt(token, 0), spelling.byte_level)) traits |= kBeginsWithLetter;
  if (IsLetter(CodePointAt(token, LastCharacter(token)), spelling.byte_level))
    traits |= kEndsWithLetter;
  return traits;
}

StatusOr<int32_t> FindMask(const Tokenizer& tokenizer, const std::string& asked) {
  if (!asked.empty()) {
    if (const auto id = tokenizer.TokenToId(asked)) return *id;
    return InvalidArgument("the tokenizer has no token \"{}\" to mask with", asked);
  }
  for (const std::string_view name : kMaskNames)
    if (const auto id = tokenizer.TokenToId(name)) return *id;
  return InvalidArgument(
      "the tokenizer has no mask token ({}): train one for this job (tokenizer.train), or name one "
      "that a masked model was trained with",
      fmt::join(kMaskNames, ", "));
}

// What stands before and after a text when special tokens are added.
Status FindAround(const Tokenizer& tokenizer, MaskingVocabulary& vocabulary) {
  ASSIGN_OR_RETURN(const auto plain, tokenizer.Encode("a"));
  ASSIGN_OR_RETURN(const auto dressed, tokenizer.Encode("a", {.add_special_tokens = true}));
  const auto at = std::search(dressed.begin(), dressed.end(), plain.begin(), plain.end());
  if (plain.empty() || at == dressed.end() || dressed.size() - plain.size() > kAroundMax)
    return InvalidArgument(
        "the tokenizer's template changes the tokens of a text, or puts more than {} around it",
        kAroundMax);
  vocabulary.prefix.assign(dressed.begin(), at);
  vocabulary.suffix.assign(at + static_cast<int64_t>(plain.size()), dressed.end());
  return OkStatus();
}

}  // namespace

bool MaskingVocabulary::Continues(int32_t before, int32_t id) const {
  const uint8_t left = traits_V[static_cast<size_t>(before)];
  const uint8_t right = traits_V[static_cast<size_t>(id)];
  if ((right & kContinuesWord) != 0) return true;
  return (left & kEndsWithLetter) != 0 && (right & kBeginsWithLetter) != 0;
}

StatusOr<MaskingVocabulary> MaskingVocabulary::Of(const Tokenizer& tokenizer,
                                                  const std::string& mask_token) {
  MaskingVocabulary vocabulary;
  ASSIGN_OR_RETURN(vocabulary.mask, FindMask(tokenizer, mask_token));
  RETURN_IF_ERROR(FindAround(tokenizer, vocabulary));
  ASSIGN_OR_RETURN(const Spelling spelling, SpellingOf(tokenizer.json()));
  ASSIGN_OR_RETURN(const std::vector<uint32_t> sizes, tokenizer.TokenSizes());
  vocabulary.traits_V.assign(sizes.size(), 0);
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    // Special tokens, and ids that no token has, stand for no text.
    if (sizes[i] == 0 || id == vocabulary.mask) continue;
    ASSIGN_OR_RETURN(const std::string token, tokenizer.IdToToken(id));
    vocabulary.traits_V[i] = TraitsOf(token, spelling);
    vocabulary.ordinary_ids.push_back(id);
  }
  if (vocabulary.ordinary_ids.empty())
    return InvalidArgument("the tokenizer has special tokens only: there is nothing to mask");
  return vocabulary;
}

}  // namespace trainyard::worker

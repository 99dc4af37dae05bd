#include "worker/text/tokenizer_parts.h"

#include <algorithm>
#include <array>

namespace trainyard::worker {
namespace {

// Letters, digits, runs of anything else: the rules by which these families cut text, as their own
// tokenizer.json files say.
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// As Tekken's, with English endings after words and numbers of up to three digits.
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// DeepSeek's cut one after the other.
constexpr std::string_view kBreaks = R"([\r\n])";
constexpr std::string_view kChinese = R"([一-龥ࠀ-一가-퟿]+)";
// The escaped letters have twins that look the same, to which an editor may turn them.
constexpr std::string_view kDeepSeekLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ)"
    R"(ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-)"
    "\u1F7D"
    R"(ᾀ-ᾴᾶ-ᾼ)"
    "\u1FBE"
    R"(ῂ-ῄῆ-ῌῐ-)"
    "\u1FD3"
    R"(ῖ-)"
    "\u1FDB"
    R"(ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ)"
    "\u2126"
    R"(ℨ)"
    "\u212A"
    R"(-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯ)"
    R"(ꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr std::string_view kDeepSeekMarks = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";
constexpr std::string_view kDeepSeek3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// kPatterns: one after the other; kPatternsThenDigits: then each digit by itself.
enum class Rule { kGpt2, kDigitsThenGpt2, kPatterns, kPatternsThenDigits };

struct PreTokenizer {
  std::string_view name;  // the first of a rule is the one written
  Rule rule = Rule::kGpt2;
  std::array<std::string_view, 5> patterns = {};  // the empty ones are none
  bool whole_words = false;
};

constexpr std::array kPreTokenizers = {
    PreTokenizer{"gpt-2"},
    PreTokenizer{"default"},
    PreTokenizer{""},
    PreTokenizer{"phi-2"},
    PreTokenizer{"mpt"},
    PreTokenizer{"olmo"},
    PreTokenizer{"jais"},
    PreTokenizer{"roberta-bpe"},
    PreTokenizer{"smollm", Rule::kDigitsThenGpt2},
    PreTokenizer{"starcoder", Rule::kDigitsThenGpt2},
    PreTokenizer{"refact", Rule::kDigitsThenGpt2},
    PreTokenizer{"command-r", Rule::kDigitsThenGpt2},
    PreTokenizer{"codeshell", Rule::kDigitsThenGpt2},
    PreTokenizer{"exaone", Rule::kDigitsThenGpt2},
    PreTokenizer{"llama-bpe", Rule::kPatterns, {kLlama3}, true},
    PreTokenizer{"llama3", Rule::kPatterns, {kLlama3}, true},
    PreTokenizer{"llama-v3", Rule::kPatterns, {kLlama3}, true},
    PreTokenizer{"falcon3", Rule::kPatterns, {kLlama3}, true},
    PreTokenizer{"pixtral", Rule::kPatterns, {kLlama3}, true},
    PreTokenizer{"qwen2", Rule::kPatterns, {kQwen2}},
    PreTokenizer{"deepseek-r1-qwen", Rule::kPatterns, {kQwen2}},
    PreTokenizer{"megrez", Rule::kPatterns, {kQwen2}},
    PreTokenizer{"tekken", Rule::kPatterns, {kTekken}, true},
    PreTokenizer{"gpt-4o", Rule::kPatterns, {kGpt4o}},
    PreTokenizer{"llama4", Rule::kPatterns, {kGpt4o}},
    PreTokenizer{"deepseek-v3",
                 Rule::kPatterns,
                 {R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)", kDeepSeek3Words}},
    PreTokenizer{"deepseek-llm",
                 Rule::kPatternsThenDigits,
                 {kBreaks, kDeepSeekLetters, kDeepSeekMarks, R"(\s+$)", kChinese}},
    PreTokenizer{"deepseek-coder",
                 Rule::kPatternsThenDigits,
                 {kBreaks, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kChinese}},
};

const PreTokenizer* Find(std::string_view name) {
  const auto found = std::find_if(kPreTokenizers.begin(), kPreTokenizers.end(),
                                  [&](const PreTokenizer& one) { return one.name == name; });
  return found == kPreTokenizers.end() ? nullptr : &*found;
}

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", false},
          {"use_regex", use_regex}};
}

Json Digits() { return {{"type", "Digits"}, {"individual_digits", true}}; }

Json Split(std::string_view pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json JsonOf(const PreTokenizer& one) {
  if (one.rule == Rule::kGpt2) return ByteLevel(/*use_regex=*/true);
  Json parts = Json::array();
  for (const std::string_view pattern : one.patterns)
    if (!pattern.empty()) parts.push_back(Split(pattern));
  const bool takes_gpt2s = one.rule == Rule::kDigitsThenGpt2;
  if (takes_gpt2s || one.rule == Rule::kPatternsThenDigits) parts.push_back(Digits());
  parts.push_back(ByteLevel(takes_gpt2s));
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

// A line break in a regular expression's class and the escape for it are the same.
std::string WithEscapes(const std::string& regex) {
  std::string escaped;
  for (const char c : regex) escaped += c == '\r' ? "\\r" : c == '\n' ? "\\n" : std::string(1, c);
  return escaped;
}

// One spelling of those that cut alike: offsets do not decide how a text is cut, and where a
// pattern leaves nothing over, to keep what it finds and drop the rest is to isolate what it finds.
Json Plain(const Json& pre_tokenizer) {
  if (!pre_tokenizer.is_object()) return pre_tokenizer;
  Json plain = pre_tokenizer;
  plain.erase("trim_offsets");
  if (plain.contains("pretokenizers") && plain["pretokenizers"].is_array())
    for (Json& one : plain["pretokenizers"]) one = Plain(one);
  if (plain.value("type", Json()) != "Split" || !plain.contains("pattern")) return plain;
  Json& pattern = plain["pattern"];
  if (!pattern.is_object() || !pattern.contains("Regex") || !pattern["Regex"].is_string())
    return plain;
  const std::string regex = WithEscapes(pattern["Regex"].get<std::string>());
  if (regex.ends_with(R"(|\s+)") && plain.value("behavior", Json()) == "Removed" &&
      plain.value("invert", Json()) == true)
    plain["behavior"] = "Isolated", plain["invert"] = false;
  pattern["Regex"] = regex;
  return plain;
}

// The characters that stand for the bytes 0 to 255 (GPT-2's encoder.py): printable Latin-1 as
// itself, the rest from U+0100 on.
const std::array<char32_t, 256>& ByteCharacters() {
  static const std::array<char32_t, 256> characters = [] {
    std::array<char32_t, 256> made{};
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      made[byte] = printable ? byte : next++;
    }
    return made;
  }();
  return characters;
}

// The reverse: -1 for a character that stands for no byte.
const std::array<int16_t, 0x800>& CharacterBytes() {
  static const std::array<int16_t, 0x800> bytes = [] {
    std::array<int16_t, 0x800> made;
    made.fill(-1);
    for (size_t byte = 0; byte < 256; ++byte)
      made[ByteCharacters()[byte]] = static_cast<int16_t>(byte);
    return made;
  }();
  return bytes;
}

}  // namespace

std::string SpellBytes(std::string_view text) {
  std::string spelled;
  for (const char c : text) {
    const char32_t character = ByteCharacters()[static_cast<uint8_t>(c)];  // below 0x800
    if (character < 0x80) {
      spelled += static_cast<char>(character);
    } else {
      spelled += static_cast<char>(0xC0 | character >> 6);
      spelled += static_cast<char>(0x80 | (character & 0x3F));
    }
  }
  return spelled;
}

std::optional<std::string> UnspellBytes(std::string_view spelled) {
  std::string text;
  for (size_t i = 0; i < spelled.size(); ++i) {
    char32_t character = static_cast<uint8_t>(spelled[i]);
    if (character >= 0x80) {
      if ((character & 0xE0) != 0xC0 || i + 1 == spelled.size()) return std::nullopt;
      character = (character & 0x1F) << 6 | (static_cast<uint8_t>(spelled[++i]) & 0x3F);
    }
    const int16_t byte = CharacterBytes()[character];  // two bytes of UTF-8 end below 0x800
    if (byte < 0) return std::nullopt;
    text += static_cast<char>(byte);
  }
  return text;
}

Json AddedToken(int64_t id, std::string_view content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

Json TemplateProcessing(const std::vector<TemplateToken>& before,
                        const std::vector<TemplateToken>& after) {
  if (before.empty() && after.empty()) return nullptr;
  Json special = Json::object();
  const auto around = [&](Json& list, const std::vector<TemplateToken>& tokens, int type) {
    for (const TemplateToken& token : tokens) {
      list.push_back({{"SpecialToken", {{"id", token.content}, {"type_id", type}}}});
      special[token.content] = {
          {"id", token.content}, {"ids", {token.id}}, {"tokens", {token.content}}};
    }
  };
  Json single = Json::array();
  around(single, before, 0);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  around(single, after, 0);
  Json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  around(pair, after, 1);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

StatusOr<Json> PreTokenizerOfName(std::string_view name) {
  const PreTokenizer* found = Find(name);
  if (found == nullptr) return NotFound("no pre-tokenizer is called {}", name);
  return JsonOf(*found);
}

bool TakesWholeWords(std::string_view name) {
  const PreTokenizer* found = Find(name);
  return found != nullptr && found->whole_words;
}

std::optional<std::string> NameOfPreTokenizer(const Json& pre_tokenizer) {
  const Json plain = Plain(pre_tokenizer);
  for (const PreTokenizer& one : kPreTokenizers)
    if (Plain(JsonOf(one)) == plain) return std::string(one.name);
  return std::nullopt;
}

Json EmptyTokenizer() {
  return {{"version", "1.0"},          {"truncation", nullptr},
          {"padding", nullptr},        {"added_tokens", Json::array()},
          {"normalizer", nullptr},     {"pre_tokenizer", nullptr},
          {"post_processor", nullptr}, {"decoder", nullptr},
          {"model", nullptr}};
}

Json BpeModel(Json vocabulary, Json merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

Json ByteLevelDecoder() { return ByteLevel(/*use_regex=*/false); }

Json BertNormalizer(const BertOptions& options) {
  return {
      {"type", "BertNormalizer"},
      {"clean_text", true},
      {"handle_chinese_chars", options.split_chinese},
      {"strip_accents", options.strip_accents_set ? Json(options.strip_accents) : Json(nullptr)},
      {"lowercase", options.lowercase}};
}

Json WordPieceModel(Json vocabulary, std::string_view unknown) {
  return {{"type", "WordPiece"},
          {"unk_token", unknown},
          {"continuing_subword_prefix", "##"},
          {"max_input_chars_per_word", 100},
          {"vocab", std::move(vocabulary)}};
}

}  // namespace trainyard::worker

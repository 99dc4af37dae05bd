#include "worker/data/scoring.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr EncodeOptions kPlain = {.add_special_tokens = false, .parse_special_tokens = true};

// str.isspace, which rstrip and \s of Python's re go by.
bool IsSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

// The character at `at`, and its size in bytes.
std::pair<uint32_t, size_t> CharacterAt(std::string_view text, size_t at) {
  const auto first = static_cast<uint8_t>(text[at]);
  const size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
  if (size == 1 || at + size > text.size()) return {first, 1};
  uint32_t code = first & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) code = code << 6 | (static_cast<uint8_t>(text[at + i]) & 0x3F);
  return {code, size};
}

// Bytes of `text` up to its trailing white space.
size_t WithoutTrailingSpace(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const auto [code, size] = CharacterAt(text, at);
    at += size;
    if (!IsSpace(code)) end = at;
  }
  return end;
}

}  // namespace

StatusOr<ScoringRules> ScoringRulesOf(const Tokenizer& tokenizer, std::string_view token_names,
                                      bool bos_twice) {
  const auto names = nlohmann::json::parse(token_names, nullptr, /*allow_exceptions=*/false);
  for (const char* name : {"bos_token", "eos_token"}) {
    if (!names.is_object() || !names.contains(name) || !names[name].is_string()) continue;
    const auto id = tokenizer.TokenToId(names[name].get<std::string>());
    if (!id.has_value()) continue;
    ASSIGN_OR_RETURN(std::string text, tokenizer.Decode({&*id, 1}));
    return ScoringRules{
        .prefix_token = *id, .bos_twice = bos_twice, .prefix_text = std::move(text)};
  }
  return InvalidArgument(
      "the tokenizer has neither bos_token nor eos_token: name one of them in "
      "tokenizer_config.json, it must stand before the first token");
}

StatusOr<std::vector<int32_t>> EncodeScored(const Tokenizer& tokenizer, std::string_view text,
                                            const ScoringRules& rules) {
  const bool adds = rules.bos_twice && !text.starts_with(rules.prefix_text);
  return tokenizer.Encode(text, {.add_special_tokens = adds, .parse_special_tokens = true});
}

StatusOr<ScoredText> EncodePair(const Tokenizer& tokenizer, std::string_view context,
                                std::string_view continuation, const ScoringRules& rules) {
  ScoredText text;
  std::vector<int32_t> ids;
  if (!context.empty()) {
    const std::string whole = std::string(context) + std::string(continuation);
    ASSIGN_OR_RETURN(ids, EncodeScored(tokenizer, whole, rules));
    ASSIGN_OR_RETURN(
        text.context,
        EncodeScored(tokenizer, context.substr(0, WithoutTrailingSpace(context)), rules));
  } else {
    ASSIGN_OR_RETURN(ids, tokenizer.Encode(continuation, kPlain));
  }
  // The context is read as it is encoded alone.
  if (text.context.size() < ids.size())
    text.continuation.assign(ids.begin() + static_cast<int64_t>(text.context.size()), ids.end());
  if (text.context.empty()) {
    text.context = {rules.prefix_token};
    if (!text.continuation.empty() && text.continuation.front() == rules.prefix_token)
      text.continuation.erase(text.continuation.begin());
  }
  if (text.continuation.empty())
    return InvalidArgument(
        "there is no token to score: the continuation is empty, or joined to its context");
  return text;
}

std::vector<ScoredText> RollingWindows(std::span<const int32_t> tokens, int32_t prefix_token,
                                       int64_t max_length) {
  REQUIRE(max_length >= 1);
  const auto all = static_cast<int64_t>(tokens.size());
  const auto part = [&](int64_t begin, int64_t end) {
    return std::vector<int32_t>(tokens.begin() + begin, tokens.begin() + end);
  };
  std::vector<ScoredText> windows;
  if (all == 0) return windows;
  int64_t scored = std::min(max_length, all);
  windows.push_back({{prefix_token}, part(0, scored)});
  while (scored < all) {
    const int64_t end = std::min(scored + max_length, all);
    // What is read are the max_length tokens before the last; the context those not scored here.
    windows.push_back({part(end - max_length - 1, scored), part(scored, end)});
    scored = end;
  }
  return windows;
}

Status AppendScored(const ScoredText& text, int64_t max_length, Batch& batch) {
  REQUIRE(!text.context.empty() && !text.continuation.empty());
  const auto scored = static_cast<int64_t>(text.continuation.size());
  if (scored > max_length)
    return InvalidArgument("a continuation of {} tokens is longer than the {} that are read",
                           scored, max_length);
  const auto context = static_cast<int64_t>(text.context.size());
  // All but the last token are read.
  const int64_t skipped = std::max<int64_t>(0, context + scored - 1 - max_length);
  const size_t old = batch.token_ids_T.size();
  batch.token_ids_T.insert(batch.token_ids_T.end(), text.context.begin() + skipped,
                           text.context.end());
  batch.token_ids_T.insert(batch.token_ids_T.end(), text.continuation.begin(),
                           text.continuation.end() - 1);
  const size_t total = batch.token_ids_T.size();
  batch.target_ids_T.resize(total - text.continuation.size(), kNoTarget);
  batch.target_ids_T.insert(batch.target_ids_T.end(), text.continuation.begin(),
                            text.continuation.end());
  batch.position_ids_T.resize(total);
  std::iota(batch.position_ids_T.begin() + static_cast<int64_t>(old), batch.position_ids_T.end(),
            0);
  if (batch.cu_seqlens.empty()) batch.cu_seqlens.push_back(0);
  batch.cu_seqlens.push_back(static_cast<int32_t>(total));
  return OkStatus();
}

int64_t WordsOf(std::string_view text) {
  int64_t words = 1;
  bool in_space = false;
  for (size_t at = 0; at < text.size();) {
    const auto [code, size] = CharacterAt(text, at);
    at += size;
    const bool space = IsSpace(code);
    if (space && !in_space) ++words;
    in_space = space;
  }
  return words;
}

}  // namespace trainyard::worker

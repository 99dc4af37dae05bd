#include "worker/text/sentencepiece_tokenizer.h"

#include <absl/strings/escaping.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>

namespace trainyard::worker {
namespace {

using Type = SentencePiece::Type;

constexpr std::string_view kSpace = "\xE2\x96\x81";  // "▁"
// A Unigram model takes text for any piece; for these no text is likely enough.
constexpr double kNoText = -10000;
constexpr size_t kUserPiecesMax = 4096;

Json Replace(const char* kind, std::string_view pattern, std::string_view content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

// A text as a regular expression that is found in no other.
std::string Literal(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    const bool plain =
        byte >= 0x80 || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (plain)
      pattern += c;
    else
      pattern += fmt::format("\\x{:02X}", byte);
  }
  return pattern;
}

// The space in front. The user's pieces are cut out of the normalized text and do not get one, so
// that none stands behind them; as the library normalizes these pieces too, a text that is one of
// them gets none either.
StatusOr<Json> PrefixNormalizer(const SentencePieceModel& model, std::string_view space) {
  std::string pieces;
  size_t count = 0;
  for (const SentencePiece& piece : model.pieces) {
    if (piece.type != Type::kUserDefined) continue;
    pieces += (pieces.empty() ? "" : "|") + Literal(piece.text);
    ++count;
  }
  if (count > kUserPiecesMax)
    return Unimplemented(
        "tokenizer.model: {} pieces of the user and a space before each text; {} "
        "are the most",
        count, kUserPiecesMax);
  if (count == 0) return Json{{"type", "Prepend"}, {"prepend", space}};
  return Replace("Regex", fmt::format("\\A(?!(?:{})\\z)(?=[\\s\\S])", pieces), space);
}

StatusOr<Json> NormalizerOf(const SentencePieceModel& model) {
  const std::string_view space = model.escape_whitespaces ? kSpace : " ";
  Json steps = Json::array();
  if (!model.charsmap.empty())
    steps.push_back(
        {{"type", "Precompiled"}, {"precompiled_charsmap", absl::Base64Escape(model.charsmap)}});
  if (model.remove_extra_whitespaces) {
    steps.push_back(Replace("Regex", " {2,}", " "));
    steps.push_back(Replace("Regex", "\\A | \\z", ""));
  }
  if (model.add_dummy_prefix && !model.whitespace_is_suffix) {
    ASSIGN_OR_RETURN(Json prefix, PrefixNormalizer(model, space));
    steps.push_back(std::move(prefix));
  }
  if (model.escape_whitespaces) steps.push_back(Replace("String", " ", kSpace));
  if (model.add_dummy_prefix && model.whitespace_is_suffix)
    steps.push_back(Replace("Regex", "(?<=[\\s\\S])\\z", space));
  if (steps.empty()) return Json(nullptr);
  return Json{{"type", "Sequence"}, {"normalizers", std::move(steps)}};
}

size_t CharactersOf(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool IsText(const SentencePiece& piece) {
  return piece.type == Type::kNormal || piece.type == Type::kUserDefined;
}

Json UnigramOf(const SentencePieceModel& model, const Json& vocab) {
  int64_t size = std::ssize(model.pieces);
  for (const auto& [token, id] : vocab.items()) size = std::max(size, id.get<int64_t>() + 1);
  Json entries = Json::array();
  for (int64_t id = 0; id < size; ++id) entries.push_back({fmt::format("[PAD{}]", id), kNoText});
  for (const auto& [token, id] : vocab.items()) entries[id.get<size_t>()][0] = token;
  for (size_t id = 0; id < model.pieces.size(); ++id)
    if (model.pieces[id].type == Type::kNormal) entries[id][1] = model.pieces[id].score;
  return {{"type", "Unigram"},
          {"unk_id", model.unk_id},
          {"vocab", std::move(entries)},
          {"byte_fallback", model.byte_fallback}};
}

}  // namespace

void RenamePieces(const TokenNames& names, SentencePieceModel& model,
                  std::vector<std::string>& notes) {
  std::unordered_map<std::string, int64_t> id_of;
  for (size_t id = 0; id < model.pieces.size(); ++id)
    id_of.emplace(model.pieces[id].text, static_cast<int64_t>(id));
  for (const auto& [id, token] : names.by_id) {
    if (id >= std::ssize(model.pieces) ||
        model.pieces[static_cast<size_t>(id)].text == token.content)
      continue;
    SentencePiece& piece = model.pieces[static_cast<size_t>(id)];
    if (id_of.contains(token.content)) continue;  // noted with its id
    notes.push_back(fmt::format("piece {}, \"{}\", is called \"{}\": the added tokens name it so",
                                id, piece.text, token.content));
    id_of.erase(piece.text);
    id_of.emplace(token.content, id);
    piece.text = token.content;
    if (piece.type != Type::kUnknown)
      piece.type = token.special ? Type::kControl : Type::kUserDefined;
  }
}

void AddPiecesByType(const SentencePieceModel& model, TokenNames& names) {
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    const bool user = piece.type == Type::kUserDefined;
    if (!user && piece.type != Type::kControl && piece.type != Type::kUnknown) continue;
    names.by_id.emplace(static_cast<int64_t>(id),
                        NamedToken{.content = piece.text, .normalized = user, .special = !user});
  }
}

StatusOr<Json> TokenizerOf(const SentencePieceModel& model) {
  Json tokenizer = EmptyTokenizer();
  ASSIGN_OR_RETURN(tokenizer["normalizer"], NormalizerOf(model));
  tokenizer["decoder"] = SentencePieceDecoder(model.remove_extra_whitespaces ? kAllSpaces
                                              : model.add_dummy_prefix       ? 1
                                                                             : 0);
  return tokenizer;
}

Json ModelOf(const SentencePieceModel& model, const Json& vocab) {
  if (model.kind == SentencePieceModel::Kind::kUnigram) return UnigramOf(model, vocab);
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<bool> is_text;
  for (const SentencePiece& piece : model.pieces) {
    tokens.push_back(piece.text);
    scores.push_back(piece.score);
    is_text.push_back(IsText(piece));
  }
  Json bpe = BpeModel(vocab, MergesOfScores(tokens, scores, is_text));
  bpe["unk_token"] = tokens[static_cast<size_t>(model.unk_id)];
  bpe["fuse_unk"] = true;
  bpe["byte_fallback"] = model.byte_fallback;
  return bpe;
}

Json MergesOfScores(const std::vector<std::string>& tokens, const std::vector<float>& scores,
                    const std::vector<bool>& is_text) {
  struct Merge {
    float score;
    size_t left_size, right_size;  // in characters
    size_t left, right;
  };
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t id = 0; id < tokens.size(); ++id)
    if (is_text[id] && tokens[id].size() <= kSentencePieceBytesMax) ids.emplace(tokens[id], id);
  std::vector<Merge> merges;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    if (!is_text[id] || token.size() > kSentencePieceBytesMax) continue;
    const size_t first = merges.size();
    for (size_t cut = 1; cut < token.size(); ++cut) {
      if ((token[cut] & 0xC0) == 0x80) continue;  // inside a character
      const auto left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
      if (left == ids.end() || right == ids.end()) continue;
      merges.push_back({scores[id], CharactersOf(left->first), CharactersOf(right->first),
                        left->second, right->second});
    }
    std::sort(merges.begin() + static_cast<int64_t>(first), merges.end(),
              [](const Merge& a, const Merge& b) {
                return std::tie(a.left, a.right) < std::tie(b.left, b.right);
              });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tie(a.score, a.left_size, a.right_size) >
           std::tie(b.score, b.left_size, b.right_size);
  });
  Json pairs = Json::array();
  for (const Merge& merge : merges) pairs.push_back({tokens[merge.left], tokens[merge.right]});
  return pairs;
}

Json SentencePieceDecoder(int spaces) {
  Json decoders =
      Json::array({Replace("String", kSpace, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (spaces > 0)
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", spaces}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", decoders}};
}

Json SpacesNormalizer(bool prefix) {
  Json escape = Replace("String", " ", kSpace);
  if (!prefix) return escape;
  return {{"type", "Sequence"},
          {"normalizers",
           Json::array({{{"type", "Prepend"}, {"prepend", kSpace}}, std::move(escape)})}};
}

}  // namespace trainyard::worker

// A SentencePiece model as a tokenizer.json. Only this folder uses it.
#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "worker/text/sentencepiece_model.h"
#include "worker/text/special_tokens.h"
#include "worker/text/tokenizer_parts.h"

namespace trainyard::worker {

// Pieces that an added token of the same id calls otherwise get that name, as in transformers
// ("<unused7>" becomes "<|user|>"). Noted: a name that another piece has.
void RenamePieces(const TokenNames& names, SentencePieceModel& model,
                  std::vector<std::string>& notes);

// The pieces found whole in text become added tokens: those of the user wherever they stand,
// unknown and control pieces as special tokens.
void AddPiecesByType(const SentencePieceModel& model, TokenNames& names);

// Normalizer and decoder, as SentencePiece works: its rules for characters, spaces taken away and
// put in front, "▁" for a space. Unimplemented: more than 4,096 pieces of the user behind a space
// put in front.
StatusOr<Json> TokenizerOf(const SentencePieceModel& model);

// "model": the pieces, and what `vocab` has beyond them, {token: id}.
Json ModelOf(const SentencePieceModel& model, const Json& vocab);

// Scores as ranks: for each piece of text the ways to cut it in two others, those first that
// SentencePiece joins first, as transformers' generate_merges sorts them. `is_text`: by id, whether
// a token takes part; those take none that are longer than kSentencePieceBytesMax.
Json MergesOfScores(const std::vector<std::string>& tokens, const std::vector<float>& scores,
                    const std::vector<bool>& is_text);

// What makes text of pieces; so many spaces in front are taken away.
constexpr int kAllSpaces = 1 << 20;
Json SentencePieceDecoder(int spaces);

// The normalizer of a text with a space in front, or without: also a text that begins with a space
// gets another one, as in SentencePiece and llama.cpp.
Json SpacesNormalizer(bool prefix);

}  // namespace trainyard::worker

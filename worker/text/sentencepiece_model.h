// SentencePiece's own file, tokenizer.model: a protobuf message as sentencepiece_model.proto of
// https://github.com/google/sentencepiece lays it out, read here by hand since the trainer links no
// protobuf.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

struct SentencePiece {
  // The values are the file's, and those of a GGUF file's token types.
  enum class Type : int32_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,      // never text
    kUserDefined = 4,  // found whole in any text
    kUnused = 5,
    kByte = 6,  // "<0x0A>"
  };
  std::string text;  // UTF-8; U+2581 for a space
  float score = 0;   // finite; greater joins sooner (BPE), log-likelihood (Unigram)
  Type type = Type::kNormal;
};

struct SentencePieceModel {
  enum class Kind { kUnigram = 1, kBpe = 2 };
  Kind kind = Kind::kUnigram;
  std::vector<SentencePiece> pieces;  // by id; no two are the same
  bool byte_fallback = false;
  bool whitespace_is_suffix = false;
  // Of the normalizer, in the order in which they work.
  std::string charsmap;  // empty: text stays as it is; else as CheckCharsmap wants it
  bool remove_extra_whitespaces = true;
  bool add_dummy_prefix = true;
  bool escape_whitespaces = true;
  // Those of the file that are pieces.
  int64_t unk_id = 0;
  std::optional<int64_t> bos_id = {}, eos_id = {}, pad_id = {};
};

// At most so many pieces, and bytes of one.
constexpr size_t kSentencePiecesMax = size_t{1} << 20;
constexpr size_t kSentencePieceBytesMax = 4096;

// InvalidArgument: a byte breaks the format, named by its place; a piece is not UTF-8, too long,
// twice there or without a finite score; not exactly one is unknown. Unimplemented: a model of
// words or of characters, or no SentencePiece file but tiktoken's.
StatusOr<SentencePieceModel> ParseSentencePieceModel(std::string_view file);

// Whether the `tokenizers` library can look texts up in a precompiled_charsmap: the size of a
// double array of 32-bit units (https://github.com/s-yata/darts-clone), the array, then texts that
// end with NUL. Every step and value of the array must stay within. InvalidArgument: why not.
Status CheckCharsmap(std::string_view charsmap);

}  // namespace trainyard::worker

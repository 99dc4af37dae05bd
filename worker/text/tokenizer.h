// Text to tokens and back. Byte-level BPE, WordPiece and Unigram are trained here; any Hugging Face
// tokenizer.json can be loaded. The work is done by the `tokenizers` crate (this folder's
// Cargo.toml).
//
// Text is UTF-8; what is not is refused. A Tokenizer may be used by many threads at once. Results
// do not depend on the number of threads, which is the crate's own pool (RAYON_NUM_THREADS).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

struct TyTokenizer;
struct TyTrainer;
struct TyStream;

namespace trainyard::worker {

constexpr std::string_view kEndOfText = "<|endoftext|>";

struct EncodeOptions {
  bool add_special_tokens = false;  // those of the tokenizer's template (BOS and the like)
  // A special token spelled out in the text becomes its id. Off: it is text like any other, so that
  // nobody's document can end another's.
  bool parse_special_tokens = false;
};

// Bytes [begin, end) of the text. A character cut by a token boundary belongs to both tokens.
struct TextRange {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const TextRange&) const = default;
};

struct EncodedText {
  std::vector<int32_t> ids;
  std::vector<TextRange> ranges;  // one per id
};

struct EncodedTexts {
  std::vector<int32_t> ids;  // of all texts, one after the other
  std::vector<size_t> ends;  // [texts] where each text's ids end
};

// Gives text as tokens come, always whole characters: half of one waits for its rest. 32 tokens
// without a whole character are not text and come out as U+FFFD. One user at a time.
class DecodeStream {
 public:
  // The text this token completes, often one word, sometimes nothing. InvalidArgument: no such id.
  StatusOr<std::string> Step(int32_t id);
  // What still waits at the end, as U+FFFD; the stream starts anew.
  StatusOr<std::string> Finish();

 private:
  friend class Tokenizer;
  explicit DecodeStream(TyStream* stream);
  struct Free {
    void operator()(TyStream* stream) const;
  };
  std::unique_ptr<TyStream, Free> stream_;
};

class Tokenizer {
 public:
  // `json`: the text of a Hugging Face tokenizer.json. Its truncation and padding are not applied.
  static StatusOr<Tokenizer> Load(std::string_view json);

  // The text of tokenizer.json: what was loaded, byte for byte, or what training made.
  const std::string& json() const { return json_; }
  // One past the greatest id: the rows an embedding needs.
  int64_t vocab_size() const { return vocab_size_; }

  StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                        const EncodeOptions& options = {}) const;
  StatusOr<EncodedText> EncodeWithRanges(std::string_view text,
                                         const EncodeOptions& options = {}) const;
  // Many texts at once, on the crate's threads.
  StatusOr<EncodedTexts> EncodeAll(std::span<const std::string_view> texts,
                                   const EncodeOptions& options = {}) const;
  // Bytes that are not UTF-8 come out as U+FFFD. InvalidArgument: no such id.
  StatusOr<std::string> Decode(std::span<const int32_t> ids,
                               bool skip_special_tokens = false) const;
  // The stream may outlive the tokenizer.
  DecodeStream StartDecoding(bool skip_special_tokens = false) const;

  // What decoding spells out for a special token and leaves out with skip_special_tokens; empty for
  // any other id.
  std::string SpecialText(int32_t id) const;

  std::optional<int32_t> TokenToId(std::string_view token) const;
  // The token as the vocabulary spells it ("Ġthe"). InvalidArgument: no such id.
  StatusOr<std::string> IdToToken(int32_t id) const;
  // [vocab_size] bytes of text each id stands for; 0 for special tokens. For byte-level and Unigram
  // tokenizers trained here the sum over a text's ids is the text's size; WordPiece leaves out the
  // spaces.
  StatusOr<std::vector<uint32_t>> TokenSizes() const;

 private:
  friend class TokenizerTrainer;
  struct Free {
    void operator()(TyTokenizer* tokenizer) const;
  };
  using Handle = std::unique_ptr<TyTokenizer, Free>;
  Tokenizer(Handle handle, std::string json);
  Handle handle_;
  std::string json_;
  int64_t vocab_size_ = 0;
};

enum class TokenizerKind { kBpe, kWordPiece, kUnigram };

// By its name in a job file: bpe, wordpiece, unigram.
StatusOr<TokenizerKind> TokenizerKindNamed(std::string_view name);

// What text is made of, which decides how words are counted.
//   kBpe        byte-level, as GPT-2's: its splitting rule, no normalization, all 256 bytes in the
//               alphabet, so that any text can be encoded and comes back.
//   kWordPiece  as BERT's: normalized, split at white space and punctuation, a word longer than 100
//               characters or with a letter that is not in the vocabulary is [UNK];
//               [CLS] text [SEP] with special tokens.
//   kUnigram    pieces by likelihood, a word taking the space before it along ("▁"), never across a
//               newline; what is in no piece is spelled in bytes, so that any text can be encoded
//               and comes back, save that "▁" itself comes back as a space.
struct TokenizerText {
  TokenizerKind kind = TokenizerKind::kBpe;
  // kWordPiece. Accents go with upper case unless it is said otherwise.
  bool lowercase = true;
  std::optional<bool> strip_accents = {};
  bool split_chinese = true;
};

// [PAD] [UNK] [CLS] [SEP] [MASK], which BERT's tokenizers have first.
std::vector<std::string> BertSpecialTokens();

// What a tokenizer of this kind needs for jobs: those of BertSpecialTokens for kWordPiece; for the
// others the end of a text, and <mask> if it is to serve a masked objective.
std::vector<std::string> SpecialTokensFor(TokenizerKind kind, bool with_mask);

constexpr int64_t kVocabSizeMax = int64_t{1} << 20;

struct TokenizerTrainingOptions {
  int64_t vocab_size = 4096;  // special tokens included; at most kVocabSizeMax
  int64_t min_frequency = 2;  // a pair seen less often is not joined
  // kWordPiece and kUnigram: the most frequent characters kept; words with others teach nothing.
  int64_t alphabet_size = 1000;
  // ids from 0; kWordPiece needs [UNK], [CLS] and [SEP] among them
  std::vector<std::string> special_tokens = {std::string(kEndOfText)};
};

// The same text gives the same tokenizer however it is cut into pieces, as long as cuts are where
// words end (worker/data/pieces.h), and on however many threads. Holds each distinct word once.
class TokenizerTrainer {
 public:
  explicit TokenizerTrainer(const TokenizerText& text = {});
  // Counts the words of these texts, on the crate's threads.
  Status Feed(std::span<const std::string_view> texts);
  // As many entries as were asked for, or as the text supports. InvalidArgument when fewer are
  // asked for than any text of this kind needs.
  StatusOr<Tokenizer> Finish(const TokenizerTrainingOptions& options);

 private:
  struct Free {
    void operator()(TyTrainer* trainer) const;
  };
  std::unique_ptr<TyTrainer, Free> trainer_;
};

}  // namespace trainyard::worker

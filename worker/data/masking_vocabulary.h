// What masked language modelling asks of a tokenizer: its mask token, what its template puts around
// a text, which tokens are ordinary ones, and where words begin.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

// What is known of a token by its spelling. Bits.
enum TokenTrait : uint8_t {
  kOrdinary = 1,          // text: may be masked, and may stand in for a masked one
  kContinuesWord = 2,     // WordPiece's "##ing": belongs to the word before it
  kBeginsWithLetter = 4,  // so it continues the word of a token that ends with one ("ing")
  kEndsWithLetter = 8,
};

struct MaskingVocabulary {
  int32_t mask = -1;
  std::vector<int32_t> prefix,
      suffix;                         // the template around one text: [CLS] and [SEP]; may be empty
  std::vector<uint8_t> traits_V;      // [vocab_size] TokenTrait
  std::vector<int32_t> ordinary_ids;  // those of trait kOrdinary, ascending

  int64_t around() const { return static_cast<int64_t>(prefix.size() + suffix.size()); }
  bool is_ordinary(int32_t id) const {
    return (traits_V[static_cast<size_t>(id)] & kOrdinary) != 0;
  }
  // Whether `id` is part of the word that `before` belongs to, both being ordinary and neighbours.
  bool Continues(int32_t before, int32_t id) const;

  // Special tokens, [UNK] among them, are never ordinary. Words are those of the tokenizer's kind:
  // WordPiece marks what continues one; byte-level BPE and SentencePiece mark where one begins
  // ("Ġthe", "▁the"), and there letters and digits that stand together are a word.
  // `mask_token` empty: the first of "[MASK]", "<mask>", "<|mask|>" that there is. InvalidArgument
  // when there is no mask token, or when the template does more than stand around a text.
  static StatusOr<MaskingVocabulary> Of(const Tokenizer& tokenizer,
                                        const std::string& mask_token = "");
};

}  // namespace trainyard::worker

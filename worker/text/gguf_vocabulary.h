// Vocabularies as GGUF files have them (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md,
// keys tokenizer.ggml.*), and the tokenizer.json of Hugging Face that says the same. The file
// itself is read and written by worker/checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

// Values of tokenizer.ggml.token_type.
enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // a special token: never text
  kUserDefined = 4,  // found whole in any text, but text
  kUnused = 5,
  kByte = 6,  // "<0x0A>"
};

struct GgufVocabulary {
  std::string model = {};  // "gpt2": byte-level BPE; "llama": SentencePiece's; "bert": WordPiece
  std::string pre = {};    // the rule that splits text before BPE: "smollm", "qwen2", "llama-bpe"
  std::vector<std::string> tokens = {};   // by id
  std::vector<int32_t> token_types = {};  // one per token, or none: all normal
  std::vector<float> scores = {};         // "llama": one per token; greater joins sooner
  std::vector<std::string> merges = {};   // "gpt2": "left right", sooner first
  std::optional<int32_t> bos_id = {}, eos_id = {}, unk_id = {}, sep_id = {}, pad_id = {},
                         cls_id = {}, mask_id = {};
  std::optional<bool> add_bos = {}, add_eos = {};
  std::optional<bool> add_space_prefix = {};  // "llama"
  std::vector<std::string> notes = {};        // of an export: where llama.cpp reads text otherwise
};

// At most so many tokens; the largest vocabularies in use have 262,144.
constexpr size_t kGgufTokensMax = size_t{1} << 20;

// The text of a tokenizer.json that encodes as the vocabulary says:
//   gpt2   pre-tokenizer of `pre` ("" and "default" as GPT-2's). As the model's own tokenizer.json
//          would, not as llama.cpp: qwen2 normalises to NFC, llama-bpe takes whole words first.
//   llama  BPE with byte fallback, its merges recovered from the scores as transformers 5 does.
//   bert   lower-cased WordPiece with [CLS] and [SEP]; "▁" before a word becomes "##" before a
//   rest.
// add_bos is what the file says, else true for llama, false for gpt2. InvalidArgument: an id, size
// or token is wrong, named. Unimplemented: a model or pre-tokenizer that is not known here, named.
StatusOr<std::string> TokenizerJsonFromGguf(const GgufVocabulary& vocabulary);

// The special tokens that tokenizer.json does not name; from tokenizer_config.json or config.json.
// `unk` need not be given where the model names it.
struct SpecialTokenIds {
  std::optional<int32_t> bos = {}, eos = {}, unk = {}, sep = {}, pad = {}, cls = {}, mask = {};
};

// The reverse, for export. Ids that no token has become unused "[PAD<id>]". Unimplemented: what
// llama.cpp has no name for (another pre-tokenizer or normalizer, Unigram), named.
StatusOr<GgufVocabulary> GgufFromTokenizerJson(std::string_view tokenizer_json,
                                               const SpecialTokenIds& special);

}  // namespace trainyard::worker

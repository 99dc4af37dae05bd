// Tokenizer classes of transformers that read vocabularies from before tokenizer.json.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <utility>

namespace trainyard::worker {

struct TokenizerClass {
  enum class Kind { kByteLevel, kWordPiece, kSentencePiece };
  // What goes around a text.
  enum class Around { kNothing, kRoberta, kBert, kBos };
  using Default = std::pair<std::string_view, std::string_view>;  // {"bos_token", "<s>"}

  std::string_view name;
  Kind kind;
  Around around = Around::kNothing;
  std::string_view pre = "gpt-2";        // kByteLevel: how text is cut, by its name in GGUF files
  bool composes = false;                 // kByteLevel: text is brought to NFC
  std::array<Default, 7> defaults = {};  // tokens that no file need name

  std::span<const Default> default_tokens() const;
};

// By the name a file has for it, with or without "Fast"; null: not known here.
const TokenizerClass* FindTokenizerClass(std::string_view name);
// By config.json's model_type, for folders that name no class; null: not known here.
const TokenizerClass* TokenizerClassOfModel(std::string_view model_type);

}  // namespace trainyard::worker

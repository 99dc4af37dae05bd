#include "worker/text/tokenizer_class.h"

#include <algorithm>

namespace trainyard::worker {
namespace {

using Kind = TokenizerClass::Kind;
using Around = TokenizerClass::Around;

constexpr std::string_view kEnd = "<|endoftext|>";
constexpr std::array<TokenizerClass::Default, 7> kGpt2Tokens = {
    {{"bos_token", kEnd}, {"eos_token", kEnd}, {"unk_token", kEnd}}};
constexpr std::array<TokenizerClass::Default, 7> kQwenTokens = {
    {{"eos_token", kEnd}, {"unk_token", kEnd}, {"pad_token", kEnd}}};
constexpr std::array<TokenizerClass::Default, 7> kRobertaTokens = {{{"bos_token", "<s>"},
                                                                    {"eos_token", "</s>"},
                                                                    {"sep_token", "</s>"},
                                                                    {"cls_token", "<s>"},
                                                                    {"unk_token", "<unk>"},
                                                                    {"pad_token", "<pad>"},
                                                                    {"mask_token", "<mask>"}}};
constexpr std::array<TokenizerClass::Default, 7> kBertTokens = {{{"unk_token", "[UNK]"},
                                                                 {"sep_token", "[SEP]"},
                                                                 {"pad_token", "[PAD]"},
                                                                 {"cls_token", "[CLS]"},
                                                                 {"mask_token", "[MASK]"}}};
constexpr std::array<TokenizerClass::Default, 7> kLlamaTokens = {
    {{"unk_token", "<unk>"}, {"bos_token", "<s>"}, {"eos_token", "</s>"}}};
constexpr std::array<TokenizerClass::Default, 7> kGemmaTokens = {{{"unk_token", "<unk>"},
                                                                  {"bos_token", "<bos>"},
                                                                  {"eos_token", "<eos>"},
                                                                  {"pad_token", "<pad>"},
                                                                  {"mask_token", "<mask>"}}};

// transformers/models/*/tokenization_*.py of 5.23, by the name of the class.
constexpr std::array kClasses = {
    TokenizerClass{"GPT2Tokenizer", Kind::kByteLevel, Around::kNothing, "gpt-2", false,
                   kGpt2Tokens},
    TokenizerClass{"CodeGenTokenizer", Kind::kByteLevel, Around::kNothing, "gpt-2", false,
                   kGpt2Tokens},
    TokenizerClass{"GPTNeoXTokenizer", Kind::kByteLevel, Around::kNothing, "gpt-2", true,
                   kGpt2Tokens},
    TokenizerClass{"Qwen2Tokenizer", Kind::kByteLevel, Around::kNothing, "qwen2", true,
                   kQwenTokens},
    TokenizerClass{"RobertaTokenizer", Kind::kByteLevel, Around::kRoberta, "gpt-2", false,
                   kRobertaTokens},
    TokenizerClass{"LongformerTokenizer", Kind::kByteLevel, Around::kRoberta, "gpt-2", false,
                   kRobertaTokens},
    TokenizerClass{"BartTokenizer", Kind::kByteLevel, Around::kRoberta, "gpt-2", false,
                   kRobertaTokens},
    TokenizerClass{"BertTokenizer", Kind::kWordPiece, Around::kBert, "", false, kBertTokens},
    TokenizerClass{"DistilBertTokenizer", Kind::kWordPiece, Around::kBert, "", false, kBertTokens},
    TokenizerClass{"ElectraTokenizer", Kind::kWordPiece, Around::kBert, "", false, kBertTokens},
    TokenizerClass{"LlamaTokenizer", Kind::kSentencePiece, Around::kBos, "", false, kLlamaTokens},
    TokenizerClass{"GemmaTokenizer", Kind::kSentencePiece, Around::kBos, "", false, kGemmaTokens},
};

// As transformers' TOKENIZER_MAPPING_NAMES; what it leaves open (llama, mistral) is as their own
// tokenizers were.
constexpr std::pair<std::string_view, std::string_view> kOfModels[] = {
    {"gpt2", "GPT2Tokenizer"},         {"roberta", "RobertaTokenizer"},
    {"bert", "BertTokenizer"},         {"distilbert", "BertTokenizer"},
    {"qwen2", "Qwen2Tokenizer"},       {"qwen3", "Qwen2Tokenizer"},
    {"llama", "LlamaTokenizer"},       {"mistral", "LlamaTokenizer"},
    {"gemma2", "GemmaTokenizer"},      {"gemma3", "GemmaTokenizer"},
    {"gemma3_text", "GemmaTokenizer"},
};

}  // namespace

std::span<const TokenizerClass::Default> TokenizerClass::default_tokens() const {
  const auto end = std::find_if(defaults.begin(), defaults.end(),
                                [](const Default& one) { return one.first.empty(); });
  return {defaults.begin(), end};
}

const TokenizerClass* FindTokenizerClass(std::string_view name) {
  if (name.ends_with("Fast")) name.remove_suffix(4);
  const auto found = std::find_if(kClasses.begin(), kClasses.end(),
                                  [&](const TokenizerClass& one) { return one.name == name; });
  return found == kClasses.end() ? nullptr : &*found;
}

const TokenizerClass* TokenizerClassOfModel(std::string_view model_type) {
  for (const auto& [model, name] : kOfModels)
    if (model == model_type) return FindTokenizerClass(name);
  return nullptr;
}

}  // namespace trainyard::worker

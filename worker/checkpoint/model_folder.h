// The small files that make a folder of weights one that Hugging Face transformers loads as it
// stands.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace trainyard::worker {

struct SpecialToken {
  std::string text;  // empty: there is none
  int32_t id = -1;
};

struct TokenizerContents {
  std::string tokenizer_json = {};  // the bytes of tokenizer.json
  SpecialToken bos = {};
  SpecialToken eos = {};
  SpecialToken pad = {};
  // Of masked models.
  SpecialToken unk = {};
  SpecialToken cls = {};
  SpecialToken sep = {};
  SpecialToken mask = {};
  int64_t max_length = 0;  // tokens
  // Further files of the tokenizer, of its chat template, and generation_config.json, by name:
  // written as they are. What is among them is not made from the fields above.
  std::map<std::string, std::string> files = {};
};

// tokenizer_config.json, for transformers' PreTrainedTokenizerFast.
nlohmann::ordered_json TokenizerConfigJson(const TokenizerContents& tokenizer);
// generation_config.json.
nlohmann::ordered_json GenerationConfigJson(const TokenizerContents& tokenizer);

struct ModelCard {
  std::string job;
  int64_t step = 0;
  int64_t update_count = 0;
  int64_t parameter_count = 0;
  bool masked = false;      // predicts masked tokens, not the next one
  std::string data;         // a sentence on what it was trained on
  std::string data_sha256;  // of the prepared data
};
// README.md.
std::string ModelCardText(const ModelCard& card);

}  // namespace trainyard::worker

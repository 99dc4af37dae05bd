// Tokenizers and vocabularies for tests of masking.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "worker/data/masking_vocabulary.h"

namespace trainyard::worker {

// Ids of the vocabulary below, as of the shards of shards.h: 0 ends items.
constexpr int32_t kTestClass = 1, kTestMask = 2, kTestUnknown = 3, kFirstOrdinary = 4;

// [CLS] text [SEP]; every second ordinary id continues a word.
inline std::shared_ptr<const MaskingVocabulary> TestMaskingVocabulary(size_t entries = 60000) {
  auto vocabulary = std::make_shared<MaskingVocabulary>();
  vocabulary->mask = kTestMask;
  vocabulary->prefix = {kTestClass};
  vocabulary->suffix = {0};
  vocabulary->traits_V.assign(entries, 0);
  for (size_t id = kFirstOrdinary; id < entries; ++id) {
    vocabulary->traits_V[id] = id % 2 == 0 ? kOrdinary : kOrdinary | kContinuesWord;
    vocabulary->ordinary_ids.push_back(static_cast<int32_t>(id));
  }
  return vocabulary;
}

// The text of a BERT tokenizer.json of these entries; the first five are BERT's special tokens.
inline std::string WordPieceJson(const std::vector<std::string>& entries) {
  nlohmann::ordered_json vocab, added = nlohmann::ordered_json::array();
  int id = 0;
  for (const char* special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    added.push_back({{"id", id},
                     {"content", special},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocab[special] = id++;
  }
  for (const std::string& entry : entries) vocab[entry] = id++;
  const auto special = [](const char* token) {
    return nlohmann::ordered_json{{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  };
  const auto sequence = [](const char* which) {
    return nlohmann::ordered_json{{"Sequence", {{"id", which}, {"type_id", 0}}}};
  };
  const auto token = [](const char* name, int at) {
    return nlohmann::ordered_json{{"id", name}, {"ids", {at}}, {"tokens", {name}}};
  };
  const nlohmann::ordered_json json = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer",
       {{"type", "BertNormalizer"},
        {"clean_text", true},
        {"handle_chinese_chars", true},
        {"strip_accents", nullptr},
        {"lowercase", true}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", {special("[CLS]"), sequence("A"), special("[SEP]")}},
        {"pair",
         {special("[CLS]"), sequence("A"), special("[SEP]"), sequence("B"), special("[SEP]")}},
        {"special_tokens", {{"[CLS]", token("[CLS]", 2)}, {"[SEP]", token("[SEP]", 3)}}}}},
      {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
      {"model",
       {{"type", "WordPiece"},
        {"unk_token", "[UNK]"},
        {"continuing_subword_prefix", "##"},
        {"max_input_chars_per_word", 100},
        {"vocab", vocab}}}};
  return json.dump();
}

}  // namespace trainyard::worker

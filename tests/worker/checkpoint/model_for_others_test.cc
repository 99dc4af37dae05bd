// Writes the checkpoints that tests/golden/test_checkpoint_loads.py opens with transformers.
#include <gmock/gmock.h>

#include <cstdlib>
#include <deque>
#include <filesystem>

#include "common/files.h"
#include "tests/support/status_matchers.h"
#include "worker/checkpoint/checkpoint.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kVocabulary = 29, kWidth = 16, kLayers = 2, kMlpWidth = 24, kKeyWidth = 8;

// Tensor t, element i holds ((7 i + 13 t) mod 31 - 15) / 64, which bf16 holds exactly.
struct Storage {
  void Add(const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    const auto t = static_cast<int64_t>(views.size());
    std::vector<float>& values = arrays.emplace_back();
    for (int64_t i = 0; i < count; ++i)
      values.push_back(static_cast<float>((7 * i + 13 * t) % 31 - 15) / 64.0f);
    views.push_back({name, std::move(shape), values.data(), values.data(), values.data(), count});
  }
  std::deque<std::vector<float>> arrays;
  std::vector<ParameterView> views;
};

Storage Llama() {
  Storage model;
  model.Add("model.embed_tokens.weight", {kVocabulary, kWidth});
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string in = fmt::format("model.layers.{}.", layer);
    model.Add(in + "input_layernorm.weight", {kWidth});
    model.Add(in + "self_attn.q_proj.weight", {kWidth, kWidth});
    model.Add(in + "self_attn.k_proj.weight", {kKeyWidth, kWidth});
    model.Add(in + "self_attn.v_proj.weight", {kKeyWidth, kWidth});
    model.Add(in + "self_attn.o_proj.weight", {kWidth, kWidth});
    model.Add(in + "post_attention_layernorm.weight", {kWidth});
    model.Add(in + "mlp.gate_proj.weight", {kMlpWidth, kWidth});
    model.Add(in + "mlp.up_proj.weight", {kMlpWidth, kWidth});
    model.Add(in + "mlp.down_proj.weight", {kWidth, kMlpWidth});
  }
  model.Add("model.norm.weight", {kWidth});
  model.Add("lm_head.weight", {kVocabulary, kWidth});
  return model;
}

nlohmann::ordered_json LlamaConfig() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", kVocabulary},
          {"hidden_size", kWidth},
          {"intermediate_size", kMlpWidth},
          {"num_hidden_layers", kLayers},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", false},
          {"eos_token_id", 0}};
}

// Words of one letter.
TokenizerContents Letters() {
  nlohmann::ordered_json vocabulary = {{"<eos>", 0}, {"<pad>", 1}, {"<unk>", 2}};
  for (int i = 0; i < 26; ++i) vocabulary[std::string(1, static_cast<char>('a' + i))] = i + 3;
  const nlohmann::ordered_json tokenizer = {
      {"version", "1.0"},
      {"added_tokens",
       {{{"id", 0},
         {"content", "<eos>"},
         {"single_word", false},
         {"lstrip", false},
         {"rstrip", false},
         {"normalized", false},
         {"special", true}}}},
      {"pre_tokenizer", {{"type", "Whitespace"}}},
      {"model", {{"type", "WordLevel"}, {"vocab", vocabulary}, {"unk_token", "<unk>"}}}};
  return {.tokenizer_json = tokenizer.dump(),
          .bos = {},
          .eos = {"<eos>", 0},
          .pad = {"<pad>", 1},
          .max_length = 64};
}

TEST(ModelForOthers, WritesALlamaInBothFormats) {
  const char* out = std::getenv("TRAINYARD_OUT_DIR");
  const auto temporary = std::filesystem::path(testing::TempDir()) / ("others-" + RandomHex(6));
  const std::filesystem::path folder = out != nullptr ? out : temporary;
  const Storage model = Llama();
  CheckpointContents contents;
  contents.state = {.job = "letters-a1",
                    .attempt = 1,
                    .step = 3,
                    .update_count = 3,
                    .loader = nlohmann::json::object(),
                    .schedule = nlohmann::json::object(),
                    .data_sha256 = Sha256(""),
                    .tokenizer_sha256 = Sha256(""),
                    .spec_sha256 = Sha256("")};
  contents.parameters = model.views;
  contents.model_config = LlamaConfig();
  contents.tokenizer = Letters();
  contents.data_description = "nothing";
  for (const auto& [name, format] : {std::pair("float32", WeightFormat::kFloat32),
                                     std::pair("bfloat16", WeightFormat::kBfloat16)}) {
    contents.weight_format = format;
    contents.model_config["dtype"] = name;
    ASSERT_OK_AND_ASSIGN(const auto written, WriteCheckpoint(folder / name, contents));
    EXPECT_OK(VerifyCheckpoint(folder / name, written.manifest_digest));
  }
  std::filesystem::remove_all(temporary);
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/checkpoint/gguf_weights.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "worker/checkpoint/gguf_rope.h"
#include "worker/checkpoint/gguf_writer.h"
#include "worker/checkpoint/model_source.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
  GgmlType type = GgmlType::kF32;
};

std::vector<float> Counting(size_t n) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i);
  return values;
}

class GgufWeightsTest : public testing::Test {
 protected:
  // Keys of a model two wide with one head, without the architecture's prefix.
  GgufWriter::Keys Keys(const std::string& architecture) {
    const auto key = [&](const char* name) { return architecture + "." + name; };
    return {{"general.architecture", GgufString(architecture)},
            {key("embedding_length"), GgufUint32(4)},
            {key("block_count"), GgufUint32(1)},
            {key("attention.head_count"), GgufUint32(1)},
            {key("feed_forward_length"), GgufUint32(8)},
            {key("context_length"), GgufUint32(16)},
            {key("attention.layer_norm_epsilon"), GgufFloat32(1e-12f)},
            {key("attention.layer_norm_rms_epsilon"), GgufFloat32(1e-5f)}};
  }
  StatusOr<ModelSource> Open(const GgufWriter::Keys& keys, const std::vector<Tensor>& tensors) {
    const auto path = folder_.path() / RandomHex(4);
    std::vector<GgufTensorSpec> specs;
    for (const Tensor& t : tensors) specs.push_back({t.name, t.type, t.shape});
    ASSIGN_OR_RETURN(GgufWriter writer, GgufWriter::Create(path, keys, specs));
    for (const Tensor& t : tensors) RETURN_IF_ERROR(writer.Write(t.values));
    RETURN_IF_ERROR(writer.Finish().status());
    return ModelSource::Open(path);
  }
  std::vector<float> Values(const ModelSource& source, std::string_view name) {
    const SourceTensor* tensor = source.Find(name);
    EXPECT_NE(tensor, nullptr) << name;
    if (tensor == nullptr) return {};
    std::vector<float> values(static_cast<size_t>(tensor->count));
    EXPECT_OK(source.ReadFloats(*tensor, 0, values));
    return values;
  }

  TempFolder folder_{FolderInMemory()};
  const Tensor embedding_ = {"token_embd.weight", {3, 4}, Counting(12)};
};

TEST_F(GgufWeightsTest, LlamasRowsAreHalvesAgain) {
  ASSERT_OK_AND_ASSIGN(
      const ModelSource source,
      Open(Keys("llama"), {embedding_,
                           {"blk.0.attn_q.weight", {4, 1}, {0, 1, 2, 3}},
                           {"blk.0.attn_k.bias", {4}, {0, 1, 2, 3}, GgmlType::kF16},
                           {"blk.0.attn_v.weight", {4, 1}, {0, 1, 2, 3}}}));
  // Stored as pairs (0, 1), (2, 3): first halves 0 and 2, second halves 1 and 3.
  EXPECT_THAT(Values(source, "model.layers.0.self_attn.q_proj.weight"), ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(Values(source, "model.layers.0.self_attn.k_proj.bias"), ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(Values(source, "model.layers.0.self_attn.v_proj.weight"), ElementsAre(0, 1, 2, 3));
  std::string bytes;
  ASSERT_OK(source.VisitBytes(*source.Find("model.layers.0.self_attn.k_proj.bias"),
                              [&](std::string_view piece) {
                                bytes += piece;
                                return OkStatus();
                              }));
  EXPECT_EQ(bytes, std::string("\x00\x00\x00\x40\x00\x3c\x00\x42", 8));  // float16 0, 2, 1, 3
}

TEST_F(GgufWeightsTest, Gpt2sMatricesAreTransposed) {
  ASSERT_OK_AND_ASSIGN(const ModelSource source,
                       Open(Keys("gpt2"), {embedding_,
                                           {"position_embd.weight", {5, 4}, Counting(20)},
                                           {"blk.0.ffn_up.weight", {3, 2}, {0, 1, 2, 3, 4, 5}},
                                           {"blk.0.ffn_up.bias", {3}, {7, 8, 9}}}));
  EXPECT_THAT(source.Find("transformer.h.0.mlp.c_fc.weight")->shape, ElementsAre(2, 3));
  EXPECT_THAT(Values(source, "transformer.h.0.mlp.c_fc.weight"), ElementsAre(0, 2, 4, 1, 3, 5));
  EXPECT_THAT(Values(source, "transformer.h.0.mlp.c_fc.bias"), ElementsAre(7, 8, 9));
  EXPECT_EQ(source.config()["n_positions"], 5);
  EXPECT_EQ(source.config()["tie_word_embeddings"], true);
}

TEST_F(GgufWeightsTest, GemmasNormsLoseTheOne) {
  ASSERT_OK_AND_ASSIGN(
      const ModelSource source,
      Open(Keys("gemma3"), {embedding_,
                            {"output_norm.weight", {4}, {1, 0.5, 2, 1.25}, GgmlType::kF16},
                            {"blk.0.attn_q_norm.weight", {4}, {1, 1, 1, 2}}}));
  EXPECT_THAT(Values(source, "model.norm.weight"), ElementsAre(0, -0.5, 1, 0.25));
  EXPECT_EQ(source.Find("model.norm.weight")->type, TensorType::kF32);
  EXPECT_THAT(Values(source, "model.layers.0.self_attn.q_norm.weight"), ElementsAre(0, 0, 0, 1));
  EXPECT_EQ(source.model_type(), "gemma3_text");
}

TEST_F(GgufWeightsTest, QuantisedTensorsHaveNoTypeOfTheirOwn) {
  auto keys = Keys("qwen3");
  ASSERT_OK_AND_ASSIGN(const ModelSource source,
                       Open(keys, {{"token_embd.weight", {2, 32}, Counting(64), GgmlType::kQ8_0}}));
  const SourceTensor& tensor = source.tensors()[0];
  EXPECT_EQ(tensor.name, "model.embed_tokens.weight");
  EXPECT_FALSE(tensor.type.has_value());
  EXPECT_EQ(tensor.stored, "Q8_0");
  EXPECT_EQ(tensor.unit, 32);
}

TEST_F(GgufWeightsTest, TheConfigSaysWhatTheKeysSay) {
  auto keys = Keys("llama");
  keys.push_back({"llama.attention.head_count_kv", GgufUint32(1)});
  keys.push_back({"llama.rope.freq_base", GgufFloat32(100000)});
  keys.push_back({"llama.rope.scaling.type", GgufString("linear")});
  keys.push_back({"llama.rope.scaling.factor", GgufFloat32(2.5)});
  keys.push_back({"tokenizer.ggml.bos_token_id", GgufUint32(1)});
  keys.push_back({"tokenizer.ggml.eos_token_id", GgufUint32(2)});
  ASSERT_OK_AND_ASSIGN(const ModelSource source,
                       Open(keys, {embedding_, {"output.weight", {3, 4}, Counting(12)}}));
  const auto& config = source.config();
  EXPECT_EQ(config["vocab_size"], 3);
  EXPECT_EQ(config["head_dim"], 4);
  EXPECT_EQ(config["rms_norm_eps"], 1e-5);  // not the float32 beside it
  EXPECT_EQ(config["rope_theta"], 100000.0);
  EXPECT_EQ(config["rope_scaling"]["factor"], 2.5);
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_EQ(config["eos_token_id"], 2);
  EXPECT_TRUE(!config.contains("pad_token_id") || config["pad_token_id"].is_null());
}

TEST_F(GgufWeightsTest, RefusesWhatItDoesNotKnow) {
  const auto is_bad = [](StatusCode code, const char* what) {
    return StatusIs(code, HasSubstr(what));
  };
  EXPECT_THAT(Open({{"general.architecture", GgufString("mamba")}}, {}),
              is_bad(StatusCode::kUnimplemented, "mamba"));
  EXPECT_THAT(Open({}, {}), is_bad(StatusCode::kNotFound, "general.architecture"));
  EXPECT_THAT(Open(Keys("llama"), {}), is_bad(StatusCode::kInvalidArgument, "token_embd.weight"));
  EXPECT_THAT(Open(Keys("llama"), {embedding_, {"blk.0.ffn_gate_exps.weight", {1}, {1}}}),
              is_bad(StatusCode::kInvalidArgument, "ffn_gate_exps"));
  EXPECT_THAT(Open(Keys("llama"), {embedding_, {"blk.00.attn_v.weight", {1}, {1}}}),
              is_bad(StatusCode::kInvalidArgument, "blk.00"));
  EXPECT_THAT(Open(Keys("llama"), {embedding_, {"blk.0.attn_q.weight", {3, 1}, {1, 2, 3}}}),
              is_bad(StatusCode::kInvalidArgument, "rows of 1 heads"));
  auto keys = Keys("llama");
  keys[1] = {"llama.embedding_length", GgufString("4")};
  EXPECT_THAT(Open(keys, {embedding_}), is_bad(StatusCode::kInvalidArgument, "embedding_length"));
  keys = Keys("gemma3");
  keys[2] = {"gemma3.block_count", GgufUint32(4294967295)};
  EXPECT_THAT(Open(keys, {embedding_}),
              is_bad(StatusCode::kInvalidArgument, "gemma3.block_count is 4294967295"));
  keys = Keys("llama");
  keys.push_back({"split.count", GgufUint32(3)});
  EXPECT_THAT(Open(keys, {embedding_}), is_bad(StatusCode::kUnimplemented, "one of 3 parts"));
  keys = Keys("llama");
  keys.push_back({"llama.rope.scaling.type", GgufString("longrope")});
  EXPECT_THAT(Open(keys, {embedding_}), is_bad(StatusCode::kUnimplemented, "longrope"));
  keys = Keys("llama");
  keys.push_back({"llama.rope.dimension_count", GgufUint32(2)});
  keys.push_back({"llama.attention.key_length", GgufUint32(4)});
  EXPECT_THAT(Open(keys, {embedding_}), is_bad(StatusCode::kUnimplemented, "dimension_count"));
}

std::vector<float> FactorsOf(const Llama3Rope& rope, double theta, int64_t width) {
  const std::vector<double> factors = Llama3RopeFactors(rope, theta, width);
  return {factors.begin(), factors.end()};
}

TEST(GgufRope, FactorsGiveBackLlama3sFields) {
  for (const double factor : {8.0, 32.0}) {
    for (const int64_t length : {8192, 4096, 64}) {
      const Llama3Rope rope{.factor = factor, .original_max_positions = length};
      ASSERT_OK_AND_ASSIGN(const Llama3Rope fitted,
                           FitLlama3Rope(FactorsOf(rope, 500000, 128), 500000));
      EXPECT_EQ(fitted.factor, factor);
      EXPECT_EQ(fitted.low_freq_factor, 1);
      EXPECT_EQ(fitted.high_freq_factor, 4);
      EXPECT_EQ(fitted.original_max_positions, length);
    }
  }
}

// Many lengths and widths, also such that only one frequency or none lies between the bounds, or
// that all lie on one side of them.
TEST(GgufRope, FactorsComeBackWhateverTheLengthsWere) {
  for (const double theta : {10000.0, 500000.0})
    for (const int64_t width : {4, 8, 32, 128})
      for (const double length : {2.0, 7.0, 16.0, 27.0, 300.0, 5000.0, 131072.0, 9e6})
        for (const auto& [low, high] :
             {std::pair{1.0, 4.0}, {2.0, 16.0}, {0.3, 0.31}, {3.0, 50.0}}) {
          const Llama3Rope rope{.factor = 8,
                                .low_freq_factor = low,
                                .high_freq_factor = high,
                                .original_max_positions = static_cast<int64_t>(length)};
          const std::vector<float> factors = FactorsOf(rope, theta, width);
          const auto fitted = FitLlama3Rope(factors, theta);
          ASSERT_OK(fitted.status())
              << fmt::format("{} {} {} {} {}", theta, width, length, low, high);
          EXPECT_GT(fitted->high_freq_factor, fitted->low_freq_factor);
          EXPECT_GT(fitted->low_freq_factor, 0);
          const std::vector<float> again = FactorsOf(*fitted, theta, width);
          for (size_t i = 0; i < factors.size(); ++i) EXPECT_NEAR(again[i] / factors[i], 1, 1e-5);
        }
}

TEST(GgufRope, OtherFactorsAreRefused) {
  const std::vector<float> other = {1, 8, 1, 8};
  EXPECT_THAT(FitLlama3Rope(other, 500000),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("rope_freqs")));
  EXPECT_FALSE(FitLlama3Rope({}, 500000).ok());
}

}  // namespace
}  // namespace trainyard::worker

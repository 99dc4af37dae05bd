#include "worker/model/transformer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "tests/worker/support/autograd.h"
#include "tests/worker/support/batches.h"
#include "worker/ops/head.h"

namespace trainyard::worker {
namespace {

using Weights = std::map<std::string, Tensor>;

// The two families again, written for one item at a time with nothing but textbook operations, for
// autograd to differentiate.
struct Reference {
  const ModelConfig& config;
  const Weights& weights;

  Tensor W(const std::string& name) const { return weights.at(name); }
  Tensor NormOf(const Tensor& x, const std::string& name) const {
    if (config.norm == NormKind::kRms) {
      return x * (x.pow(2).mean(-1, true) + config.norm_epsilon).rsqrt() * W(name + ".weight");
    }
    const Tensor centred = x - x.mean(-1, true);
    return centred * (centred.pow(2).mean(-1, true) + config.norm_epsilon).rsqrt() *
               W(name + ".weight") +
           W(name + ".bias");
  }
  // One head, [t, H].
  Tensor Turn(const Tensor& x) const {
    const int64_t half = config.head_width / 2;
    const Tensor place = at::arange(x.size(0), at::kDouble).unsqueeze(1);
    const Tensor frequency =
        at::pow(config.rope_theta, at::arange(half, at::kDouble) / static_cast<double>(-half));
    const Tensor angle = place * frequency;
    const auto halves = x.chunk(2, -1);
    return at::cat({halves[0] * angle.cos() - halves[1] * angle.sin(),
                    halves[1] * angle.cos() + halves[0] * angle.sin()},
                   -1);
  }
  Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v) const {
    const int64_t length = q.size(0), width = config.head_width;
    const Tensor future = at::ones({length, length}, at::kBool).triu(1);
    std::vector<Tensor> heads;
    for (int64_t i = 0; i < config.heads; ++i) {
      const int64_t j = i * config.kv_heads / config.heads;
      Tensor qi = q.narrow(1, i * width, width), kj = k.narrow(1, j * width, width);
      if (config.position == PositionKind::kRope) qi = Turn(qi), kj = Turn(kj);
      const Tensor score = qi.matmul(kj.t()) / std::sqrt(static_cast<double>(width));
      const Tensor p = score.masked_fill(future, -std::numeric_limits<double>::infinity());
      heads.push_back(p.softmax(-1).matmul(v.narrow(1, j * width, width)));
    }
    return at::cat(heads, -1);
  }
  Tensor LlamaBlock(Tensor x, const std::string& at_layer) const {
    const Tensor n = NormOf(x, at_layer + ".input_layernorm");
    const auto project = [&](const Tensor& in, const std::string& name) {
      return in.matmul(W(at_layer + "." + name + ".weight").t());
    };
    x = x + project(Attend(project(n, "self_attn.q_proj"), project(n, "self_attn.k_proj"),
                           project(n, "self_attn.v_proj")),
                    "self_attn.o_proj");
    const Tensor m = NormOf(x, at_layer + ".post_attention_layernorm");
    const Tensor gate = project(m, "mlp.gate_proj");
    return x + project(gate * gate.sigmoid() * project(m, "mlp.up_proj"), "mlp.down_proj");
  }
  Tensor Gpt2Block(Tensor x, const std::string& at_layer) const {
    const auto project = [&](const Tensor& in, const std::string& name) {
      return in.matmul(W(at_layer + "." + name + ".weight")) + W(at_layer + "." + name + ".bias");
    };
    const auto qkv = project(NormOf(x, at_layer + ".ln_1"), "attn.c_attn").chunk(3, -1);
    x = x + project(Attend(qkv[0], qkv[1], qkv[2]), "attn.c_proj");
    const Tensor u = project(NormOf(x, at_layer + ".ln_2"), "mlp.c_fc");
    const Tensor inner = std::sqrt(2 / M_PI) * (u + 0.044715 * u.pow(3));
    return x + project(0.5 * u * (1 + inner.tanh()), "mlp.c_proj");
  }
  // The mean of -log p(next) over the items' tokens.
  Tensor Loss(const std::vector<Item>& items) const {
    const bool llama = config.model_type == "llama";
    const Tensor table = W(llama ? "model.embed_tokens.weight" : "transformer.wte.weight");
    Tensor sum = at::zeros({}, at::kDouble);
    int64_t count = 0;
    for (const Item& item : items) {
      const Tensor ids = at::tensor(std::vector<int64_t>(item.begin(), item.end()), at::kLong);
      Tensor x = at::embedding(table, ids);
      if (!llama) x = x + W("transformer.wpe.weight").narrow(0, 0, x.size(0));
      for (int64_t layer = 0; layer < config.layers; ++layer) {
        x = llama ? LlamaBlock(x, "model.layers." + std::to_string(layer))
                  : Gpt2Block(x, "transformer.h." + std::to_string(layer));
      }
      x = NormOf(x, llama ? "model.norm" : "transformer.ln_f");
      const Tensor head = config.tie_embeddings ? table : W("lm_head.weight");
      const int64_t trained = x.size(0) - 1;
      const Tensor logp = x.narrow(0, 0, trained).matmul(head.t()).log_softmax(-1);
      sum = sum - logp.gather(1, ids.narrow(0, 1, trained).unsqueeze(1)).sum();
      count += trained;
    }
    return sum / static_cast<double>(count);
  }
};

// A model over float64 buffers, with nothing at its initial value.
struct Subject {
  ModelConfig config;
  std::vector<ParameterSpec> layout;
  Tensor weights, gradients;
  Transformer model;

  static Subject Of(ModelConfig config, uint64_t seed = 5) {
    config = *WithFamily(config);
    const auto layout = ParameterLayout(config);
    const Tensor weights = Normal({config.parameter_count()}, seed) * 0.3;
    const Tensor gradients = at::zeros_like(weights);
    return {config, layout, weights, gradients, Transformer(config, layout, weights, gradients)};
  }
  // Adds gradients of scale x sum of -log p and returns that loss.
  double LossAndGradients(const Batch& batch, double scale) {
    Activations saved;
    const Tensor hidden = model.Forward(batch, &saved);
    std::vector<int64_t> rows, targets;
    for (size_t i = 0; i < batch.target_ids_T.size(); ++i) {
      if (batch.target_ids_T[i] == kNoTarget) continue;
      rows.push_back(static_cast<int64_t>(i));
      targets.push_back(batch.target_ids_T[i]);
    }
    const Tensor row = at::tensor(rows, at::kLong), target = at::tensor(targets, at::kLong);
    const Tensor dlogprob = at::full({target.size(0)}, -scale, at::kDouble);
    const HeadResult head = HeadForwardBackward(hidden.index_select(0, row), model.head_VD().value,
                                                target, dlogprob, model.head_VD().gradient);
    model.Backward(at::zeros_like(hidden).index_copy_(0, row, head.dhidden_ND), saved);
    return -scale * head.signals.logprob_N.sum().item<double>();
  }
  Tensor View(const Tensor& flat, const ParameterSpec& spec) const {
    return flat.narrow(0, spec.first, spec.count).view(spec.shape);
  }
};

const std::vector<Item> kItems = {NoiseItem(9, 37, 1), NoiseItem(4, 37, 2), NoiseItem(9, 37, 3),
                                  NoiseItem(17, 37, 4)};
constexpr double kScale = 1.0 / (8 + 3 + 8 + 16);

ModelConfig Tied(ModelConfig config, bool tie) {
  config.tie_embeddings = tie;
  return config;
}

class TransformerFamilies : public testing::TestWithParam<ModelConfig> {};

TEST_P(TransformerFamilies, AgreeWithAutogradInEveryTensor) {
  Subject subject = Subject::Of(GetParam());
  Weights leaves;
  for (const ParameterSpec& spec : subject.layout) {
    leaves[spec.name] = subject.View(subject.weights, spec).clone().requires_grad_(true);
  }
  const Tensor expected = Reference{subject.config, leaves}.Loss(kItems);
  expected.backward();
  const double loss = subject.LossAndGradients(Pack(kItems), kScale);
  EXPECT_NEAR(loss, expected.item<double>(), 1e-11);
  for (const ParameterSpec& spec : subject.layout) {
    const Tensor actual = subject.View(subject.gradients, spec);
    EXPECT_LT(RelativeError(actual, leaves[spec.name].grad()), 1e-10) << spec.name;
  }
}

TEST_P(TransformerFamilies, DoNotSeeHowItemsArePackedOrOrdered) {
  Subject whole = Subject::Of(GetParam()), apart = Subject::Of(GetParam());
  const double loss = whole.LossAndGradients(Pack(kItems), kScale);
  double sum = 0;
  for (size_t i : {2, 0, 3, 1}) sum += apart.LossAndGradients(Pack({kItems[i]}), kScale);
  EXPECT_NEAR(sum, loss, 1e-12);
  EXPECT_CLOSE(apart.gradients, whole.gradients, 1e-12);

  Subject permuted = Subject::Of(GetParam());
  permuted.LossAndGradients(Pack({kItems[3], kItems[1], kItems[0], kItems[2]}), kScale);
  EXPECT_CLOSE(permuted.gradients, whole.gradients, 1e-12);
}

TEST_P(TransformerFamilies, IgnoreWhatFollowsTheTrainedTokens) {
  Subject plain = Subject::Of(GetParam()), padded = Subject::Of(GetParam());
  plain.LossAndGradients(Pack(kItems), kScale);
  Batch batch = Pack({kItems[0], kItems[1], kItems[2], kItems[3], Item(11, 0)});
  for (size_t i = batch.target_ids_T.size() - 11; i < batch.target_ids_T.size(); ++i) {
    batch.target_ids_T[i] = kNoTarget;
  }
  padded.LossAndGradients(batch, kScale);
  EXPECT_CLOSE(padded.gradients, plain.gradients, 1e-12);
}

TEST_P(TransformerFamilies, DecodeWhatForwardComputes) {
  const Subject subject = Subject::Of(GetParam());
  const Tensor expected = subject.model.Forward(Pack({kItems[3]}), nullptr);
  KvCache cache = subject.model.NewCache(17);
  const std::span<const int32_t> tokens(kItems[3]);
  std::vector<Tensor> rows{subject.model.Decode(tokens.first(5), cache)};
  for (size_t i = 5; i < tokens.size(); ++i) {
    rows.push_back(subject.model.Decode(tokens.subspan(i, 1), cache));
  }
  EXPECT_CLOSE(at::cat(rows), expected, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Families, TransformerFamilies,
                         testing::Values(TinyLlama(), Tied(TinyLlama(), true), TinyGpt2(),
                                         Tied(TinyGpt2(), false)),
                         [](const auto& info) {
                           return info.param.model_type +
                                  (info.param.tie_embeddings ? "Tied" : "Untied");
                         });

}  // namespace
}  // namespace trainyard::worker

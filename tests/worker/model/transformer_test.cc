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

// The families again, written for one item at a time with nothing but textbook operations, for
// autograd to differentiate.
struct Reference {
  const ModelConfig& config;
  const Weights& weights;
  const Family& family = config.family();
  const NameMap& names = family.names;

  Tensor W(const std::string& name) const { return weights.at(name); }
  Tensor NormOf(const Tensor& x, const std::string& name) const {
    if (family.norm == NormKind::kRms) {
      return x * (x.pow(2).mean(-1, true) + config.norm_epsilon).rsqrt() *
             (W(name + ".weight") + family.norm_offset);
    }
    const Tensor centred = x - x.mean(-1, true);
    return centred * (centred.pow(2).mean(-1, true) + config.norm_epsilon).rsqrt() *
               W(name + ".weight") +
           W(name + ".bias");
  }
  Tensor Project(const Tensor& x, const std::string& name) const {
    const Tensor weight = W(name + ".weight");
    const Tensor y = x.matmul(names.linear_is_in_out ? weight : weight.t());
    return weights.contains(name + ".bias") ? y + W(name + ".bias") : y;
  }
  // One head, [t, H].
  Tensor Turn(const Tensor& x, double theta) const {
    const int64_t half = config.head_width / 2;
    const Tensor place = at::arange(x.size(0), at::kDouble).unsqueeze(1);
    const Tensor frequency =
        at::pow(theta, at::arange(half, at::kDouble) / static_cast<double>(-half));
    const Tensor angle = place * frequency;
    const auto halves = x.chunk(2, -1);
    return at::cat({halves[0] * angle.cos() - halves[1] * angle.sin(),
                    halves[1] * angle.cos() + halves[0] * angle.sin()},
                   -1);
  }
  Tensor Unseen(int64_t length, int64_t window) const {
    const Tensor all = at::ones({length, length}, at::kBool);
    if (!family.causal) return at::zeros_like(all);
    return window == 0 ? all.triu(1) : all.triu(1).logical_or(all.tril(-window));
  }
  Tensor Attend(const Tensor& x, int64_t layer) const {
    const auto in_block = [&](const std::string& name) { return names.InBlock(layer, name); };
    std::vector<Tensor> qkv;
    for (const std::string& name : names.qkv) qkv.push_back(Project(x, in_block(name)));
    if (qkv.size() == 1) qkv = qkv[0].chunk(3, -1);
    const LayerAttention sees = config.attention_of(layer);
    const int64_t width = config.head_width;
    const double scale = config.query_scale == 0 ? static_cast<double>(width) : config.query_scale;
    std::vector<Tensor> heads;
    for (int64_t i = 0; i < config.heads; ++i) {
      const int64_t j = i * config.kv_heads / config.heads;
      Tensor q = qkv[0].narrow(1, i * width, width), k = qkv[1].narrow(1, j * width, width);
      if (family.query_key_norm) {
        q = NormOf(q, in_block(names.query_norm)), k = NormOf(k, in_block(names.key_norm));
      }
      if (family.position == PositionKind::kRope) {
        const double theta = sees.is_local ? config.local_rope.theta : config.rope.theta;
        q = Turn(q, theta), k = Turn(k, theta);
      }
      Tensor score = q.matmul(k.t()) / std::sqrt(scale);
      if (config.attention_softcap != 0) {
        score = config.attention_softcap * (score / config.attention_softcap).tanh();
      }
      const Tensor p = score.masked_fill(Unseen(x.size(0), sees.window),
                                         -std::numeric_limits<double>::infinity());
      heads.push_back(p.softmax(-1).matmul(qkv[2].narrow(1, j * width, width)));
    }
    return Project(at::cat(heads, -1), in_block(names.attention_out));
  }
  static Tensor GeluTanh(const Tensor& u) {
    return 0.5 * u * (1 + (std::sqrt(2 / M_PI) * (u + 0.044715 * u.pow(3))).tanh());
  }
  static Tensor Gelu(const Tensor& u) { return 0.5 * u * (1 + (u / std::sqrt(2.0)).erf()); }
  Tensor Mlp(const Tensor& x, int64_t layer) const {
    const auto in = [&](size_t i) { return Project(x, names.InBlock(layer, names.mlp_in[i])); };
    Tensor y;
    if (family.mlp == MlpKind::kSwiGlu) y = in(0) * in(0).sigmoid() * in(1);
    if (family.mlp == MlpKind::kGeGluTanh) y = GeluTanh(in(0)) * in(1);
    if (family.mlp == MlpKind::kGeluTanh) y = GeluTanh(in(0));
    if (family.mlp == MlpKind::kGelu) y = Gelu(in(0));
    return Project(y, names.InBlock(layer, names.mlp_out));
  }
  template <class F>
  Tensor Half(const Tensor& x, const std::string& before, const std::string& after, F f) const {
    if (family.norm_place == NormPlace::kAfter) return NormOf(x + f(x), after);
    const Tensor y = f(NormOf(x, before));
    return x + (family.norm_place == NormPlace::kAround ? NormOf(y, after) : y);
  }
  Tensor BlockOf(const Tensor& x, int64_t layer) const {
    const auto name = [&](const std::string& part) { return names.InBlock(layer, part); };
    const Tensor h = Half(x, name(names.attention_norm), name(names.attention_after_norm),
                          [&](const Tensor& n) { return Attend(n, layer); });
    return Half(h, name(names.mlp_norm), name(names.mlp_after_norm),
                [&](const Tensor& n) { return Mlp(n, layer); });
  }
  // RoBERTa's as fairseq makes them: a count of the tokens that are no pads, behind the pad's place.
  Tensor PlacesOf(const Tensor& ids) const {
    if (!family.positions_after_pad) return at::arange(ids.size(0), at::kLong);
    const Tensor text = ids.ne(config.pad_id).to(at::kLong);
    return text.cumsum(0) * text + config.pad_id;
  }
  Tensor Embed(const Tensor& ids) const {
    Tensor x = at::embedding(W(names.token_embedding), ids);
    if (family.scales_embeddings) x = x * std::sqrt(static_cast<double>(config.hidden_size));
    if (family.position == PositionKind::kLearned) {
      x = x + at::embedding(W(names.position_embedding), PlacesOf(ids));
    }
    if (!names.type_embedding.empty()) x = x + W(names.type_embedding)[0];
    return names.embedding_norm.empty() ? x : NormOf(x, names.embedding_norm);
  }
  Tensor Logits(Tensor x) const {
    if (!names.final_norm.empty()) x = NormOf(x, names.final_norm);
    if (family.head == HeadKind::kMasked) {
      x = NormOf(Gelu(Project(x, names.head_dense)), names.head_norm);
    }
    Tensor z = x.matmul(W(config.tie_embeddings ? names.token_embedding : names.head).t());
    if (family.head == HeadKind::kMasked) z = z + W(names.head_bias);
    return config.logit_softcap == 0 ? z : config.logit_softcap * (z / config.logit_softcap).tanh();
  }
  // The mean of -log p(next) over the items' tokens.
  Tensor Loss(const std::vector<Item>& items) const {
    Tensor sum = at::zeros({}, at::kDouble);
    int64_t count = 0;
    for (const Item& item : items) {
      const Tensor ids = at::tensor(std::vector<int64_t>(item.begin(), item.end()), at::kLong);
      Tensor x = Embed(ids);
      for (int64_t layer = 0; layer < config.layers; ++layer) x = BlockOf(x, layer);
      const int64_t trained = x.size(0) - 1;
      const Tensor logp = Logits(x.narrow(0, 0, trained)).log_softmax(-1);
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
    PredictionHead::Saved head_saved;
    const Tensor seen = model.head().Transform(hidden.index_select(0, row), head_saved);
    const HeadResult result = HeadForwardBackward(seen, model.head().weights(), target, dlogprob);
    const Tensor dseen = model.head().TransformBackward(result.dhidden_ND, head_saved);
    model.Backward(at::zeros_like(hidden).index_copy_(0, row, dseen), saved);
    return -scale * result.signals.logprob_N.sum().item<double>();
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
    if (IsKeyBias(subject.config, spec.name)) {
      EXPECT_LT(actual.norm().item<double>(), 1e-13 * subject.gradients.norm().item<double>());
      continue;
    }
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
  if (!GetParam().family().causal) GTEST_SKIP() << "what looks forward cannot be continued";
  const Subject subject = Subject::Of(GetParam());
  const Tensor expected = subject.model.Forward(Pack({kItems[3]}), nullptr);
  KvCache cache = subject.model.NewCache(17);
  const std::span<const int32_t> tokens(kItems[3]);
  // Another item goes along, and begins two tokens later.
  KvCache other = subject.model.NewCache(17);
  const std::span<const int32_t> others(kItems[0]);
  const std::vector<Continuation> first = {{tokens.first(5), &cache}};
  EXPECT_CLOSE(subject.model.Decode(first)[0], expected[4], 1e-12);
  for (size_t i = 5; i < tokens.size(); ++i) {
    std::vector<Continuation> items = {{tokens.subspan(i, 1), &cache}};
    if (i >= 7 && i < 16) items.push_back({others.subspan(i - 7, 1), &other});
    EXPECT_CLOSE(subject.model.Decode(items)[0], expected[static_cast<int64_t>(i)], 1e-12);
  }
  EXPECT_EQ(other.length, 9);
}

TEST(Transformer, TurnsByDistanceAloneAlsoBeyondTheRowsThatAreKept) {
  ModelConfig config = TinyLlama();
  config.max_positions = 20'000;
  const Subject subject = Subject::Of(config);
  const Batch near = Pack({kItems[3]});
  const Tensor expected = subject.model.Forward(near, nullptr);
  for (const int32_t first : {16'380, 19'000}) {
    Batch far = near;
    for (int32_t& position : far.position_ids_T) position += first;
    EXPECT_CLOSE(subject.model.Forward(far, nullptr), expected, 1e-9);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TransformerFamilies,
                         testing::Values(TinyLlama(), Tied(TinyLlama(), true), TinyGpt2(),
                                         Tied(TinyGpt2(), false), TinyOf("mistral"),
                                         TinyOf("qwen2"), TinyOf("qwen3"), TinyOf("gemma2"),
                                         Tied(TinyOf("gemma3_text"), true), TinyOf("bert"),
                                         TinyOf("roberta"), TinyOf("distilbert")),
                         [](const auto& info) {
                           return info.param.model_type +
                                  (info.param.tie_embeddings ? "Tied" : "Untied");
                         });

}  // namespace
}  // namespace trainyard::worker

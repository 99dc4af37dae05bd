#include "worker/ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/worker/support/autograd.h"
#include "worker/ops/attention_gpu.h"

namespace trainyard::worker {
namespace {

// Attention as the paper writes it: one T x T matrix of everything, masked to "same item and not
// later", or what else the shape says.
Tensor Expected(const Tensor& qkv, const std::vector<int32_t>& cu_seqlens,
                const AttentionShape& shape) {
  const int64_t tokens = qkv.size(0), group = shape.heads / shape.kv_heads;
  const auto heads = [&](int64_t first, int64_t count) {
    return qkv.narrow(1, first * shape.width, count * shape.width)
        .reshape({tokens, count, shape.width})
        .transpose(0, 1);
  };
  const Tensor q = heads(0, shape.heads);
  const Tensor k = heads(shape.heads, shape.kv_heads).repeat_interleave(group, 0);
  const Tensor v = heads(shape.heads + shape.kv_heads, shape.kv_heads).repeat_interleave(group, 0);
  Tensor hidden = at::ones({tokens, tokens}, at::kBool);
  for (size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
    const int64_t first = cu_seqlens[i], length = cu_seqlens[i + 1] - first;
    const Tensor all = at::ones({length, length}, at::kBool);
    Tensor unseen = shape.causal ? all.triu(1) : at::zeros_like(all);
    if (shape.window != 0) unseen = unseen.logical_or(all.tril(-shape.window));
    if (shape.window != 0 && !shape.causal) unseen = unseen.logical_or(all.triu(shape.window));
    hidden.narrow(0, first, length).narrow(1, first, length).copy_(unseen);
  }
  Tensor score = q.matmul(k.transpose(1, 2)) *
                 (shape.scale != 0 ? shape.scale : 1 / std::sqrt(static_cast<double>(shape.width)));
  if (shape.softcap != 0) score = shape.softcap * (score / shape.softcap).tanh();
  const Tensor p = score.masked_fill(hidden, -std::numeric_limits<double>::infinity()).softmax(-1);
  return p.matmul(v).transpose(0, 1).reshape({tokens, shape.heads * shape.width});
}

struct Case {
  std::vector<int32_t> cu_seqlens;
  AttentionShape shape;
};

class Attention : public testing::TestWithParam<Case> {};

TEST_P(Attention, AgreesWithAutograd) {
  const auto& [cu_seqlens, shape] = GetParam();
  const Tensor qkv = Normal({cu_seqlens.back(), shape.packed_width()}, 1);
  const Tensor dout = Normal({cu_seqlens.back(), shape.heads * shape.width}, 2);
  const OracleResult oracle =
      Oracle([&](const std::vector<Tensor>& in) { return Expected(in[0], cu_seqlens, shape); },
             {qkv}, dout);
  AttentionSaved saved;
  EXPECT_CLOSE(AttentionForward(qkv, cu_seqlens, shape, saved), oracle.value, kExact);
  EXPECT_CLOSE(AttentionBackward(dout, qkv, cu_seqlens, shape, saved), oracle.gradients[0], kExact);
}

TEST_P(Attention, InFloat32StaysWithinItsRounding) {
  const auto& [cu_seqlens, shape] = GetParam();
  const Tensor qkv = Normal({cu_seqlens.back(), shape.packed_width()}, 1, at::kFloat);
  const Tensor dout = Normal({cu_seqlens.back(), shape.heads * shape.width}, 2, at::kFloat);
  const OracleResult oracle =
      Oracle([&](const std::vector<Tensor>& in) { return Expected(in[0], cu_seqlens, shape); },
             {qkv.to(at::kDouble)}, dout.to(at::kDouble));
  AttentionSaved saved;
  EXPECT_CLOSE(AttentionForward(qkv, cu_seqlens, shape, saved), oracle.value, 2e-6);
  EXPECT_CLOSE(AttentionBackward(dout, qkv, cu_seqlens, shape, saved), oracle.gradients[0], 2e-6);
}

TEST_P(Attention, InBfloat16StaysWithinItsRounding) {
  const auto& [cu_seqlens, shape] = GetParam();
  const Tensor qkv = Normal({cu_seqlens.back(), shape.packed_width()}, 1, at::kBFloat16);
  const Tensor dout = Normal({cu_seqlens.back(), shape.heads * shape.width}, 2, at::kBFloat16);
  const OracleResult oracle =
      Oracle([&](const std::vector<Tensor>& in) { return Expected(in[0], cu_seqlens, shape); },
             {qkv.to(at::kDouble)}, dout.to(at::kDouble));
  AttentionSaved saved;
  EXPECT_CLOSE(AttentionForward(qkv, cu_seqlens, shape, saved), oracle.value, 1e-2);
  EXPECT_CLOSE(AttentionBackward(dout, qkv, cu_seqlens, shape, saved), oracle.gradients[0], 1e-2);
}

TEST_P(Attention, ByTheFormulaAgreesWithAutograd) {
  const auto& [cu_seqlens, shape] = GetParam();
  const Tensor qkv = Normal({cu_seqlens.back(), shape.packed_width()}, 1);
  const Tensor dout = Normal({cu_seqlens.back(), shape.heads * shape.width}, 2);
  const OracleResult oracle =
      Oracle([&](const std::vector<Tensor>& in) { return Expected(in[0], cu_seqlens, shape); },
             {qkv}, dout);
  AttentionSaved saved;
  EXPECT_CLOSE(FormulaAttentionForward(qkv, cu_seqlens, shape, saved), oracle.value, kExact);
  EXPECT_CLOSE(FormulaAttentionBackward(dout, qkv, cu_seqlens, shape, saved), oracle.gradients[0],
               kExact);
}

TEST_P(Attention, DecodedTokenByTokenIsTheSame) {
  const auto& [cu_seqlens, shape] = GetParam();
  if (!shape.causal) GTEST_SKIP() << "what looks forward cannot be continued";
  const int64_t length = cu_seqlens[1];  // the first item
  const Tensor qkv = Normal({length, shape.packed_width()}, 1);
  const Tensor expected = Expected(qkv, {0, cu_seqlens[1]}, shape);
  const auto cache_shape = std::vector<int64_t>{length, shape.kv_heads, shape.width};
  const KvLayer cache{at::empty(cache_shape, at::kDouble), at::empty(cache_shape, at::kDouble)};
  std::vector<Tensor> rows;
  const int64_t prefill = (length + 1) / 2;
  rows.push_back(AttentionDecode(qkv.narrow(0, 0, prefill), {{prefill, 0, &cache}}, shape));
  for (int64_t i = prefill; i < length; ++i) {
    rows.push_back(AttentionDecode(qkv.narrow(0, i, 1), {{1, i, &cache}}, shape));
  }
  EXPECT_CLOSE(at::cat(rows), expected, kExact);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    testing::Values(
        Case{{0, 9}, {2, 2, 4}},                     // one item
        Case{{0, 5, 10, 15}, {3, 3, 6}},             // equal items
        Case{{0, 1, 8, 10, 12, 12 + 7}, {4, 2, 8}},  // unequal, grouped heads
        Case{{0, 300, 600, 740}, {2, 1, 16}},        // longer than a block
        Case{{0, 64, 193, 449}, {6, 2, 48}},         // head width not a power of 2
        Case{{0, 40, 41, 100}, {.heads = 2, .kv_heads = 1, .width = 8, .window = 5}},
        Case{{0, 90, 230},
             {.heads = 2, .kv_heads = 2, .width = 6, .window = 70, .scale = 0.3, .softcap = 1.5}},
        Case{{0, 7, 100}, {.heads = 2, .kv_heads = 1, .width = 4, .causal = false}},
        Case{{0, 7, 100}, {.heads = 2, .kv_heads = 1, .width = 4, .causal = false, .window = 6}},
        Case{{0, 150, 151},
             {.heads = 2, .kv_heads = 1, .width = 4, .causal = false, .window = 1}}));

TEST(AttentionMetamorphic, AnItemDoesNotSeeItsNeighbours) {
  const AttentionShape shape{2, 1, 8};
  const Tensor qkv = Normal({20, shape.packed_width()}, 1);
  AttentionSaved saved, alone;
  const Tensor packed = AttentionForward(qkv, {0, 7, 20}, shape, saved);
  const Tensor second = AttentionForward(qkv.narrow(0, 7, 13).contiguous(), {0, 13}, shape, alone);
  EXPECT_CLOSE(packed.narrow(0, 7, 13), second, kExact);
}

}  // namespace
}  // namespace trainyard::worker

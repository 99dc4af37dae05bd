// The CPU kernels against the compositions in float64, which the tests beside this one hold to
// autograd. The same operation is called with both types; shapes are odd, values extreme.
#include <ATen/Parallel.h>
#include <absl/synchronization/mutex.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include "tests/worker/support/autograd.h"
#include "worker/ops/activation.h"
#include "worker/ops/attention.h"
#include "worker/ops/cpu_kernels.h"
#include "worker/ops/embedding.h"
#include "worker/ops/head.h"
#include "worker/ops/linear.h"
#include "worker/ops/norm.h"
#include "worker/ops/products.h"
#include "worker/ops/rope.h"

namespace trainyard::worker {
namespace {

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16};

// What a result may differ by: a few roundings of the type it is stored in.
double Rounding(at::ScalarType type) { return type == at::kFloat ? 3e-6 : 6e-3; }
// Sums into float32 of numbers that were rounded to the type before.
double SumRounding(at::ScalarType type) { return type == at::kFloat ? 3e-6 : 1e-3; }

Tensor Double(const Tensor& x) { return x.defined() ? x.to(at::kDouble) : x; }
Tensor ZerosLike(const Tensor& x) {
  return at::zeros(x.sizes(), x.options().dtype(WideType(x.scalar_type())));
}

RopeAngles AnglesOf(int64_t width, double theta) {
  RopeAngles angles;
  for (int64_t i = 0; i < width / 2; ++i) {
    angles.frequencies.push_back(
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(width)));
  }
  return angles;
}

struct Sizes {
  int64_t tokens, width;
};
constexpr Sizes kSizes[] = {{1, 1}, {3, 2}, {5, 17}, {64, 96}, {130, 31}, {33, 770}};

TEST(KernelNorms, AgreeWithTheCompositions) {
  for (const at::ScalarType type : kTypes) {
    for (const auto& [tokens, width] : kSizes) {
      SCOPED_TRACE(testing::Message() << type << " " << tokens << " x " << width);
      const Tensor x = Normal({tokens, width}, 1, type), w = Normal({width}, 2, type);
      const Tensor b = Normal({width}, 3, type), dy = Normal({tokens, width}, 4, type);
      const Tensor residual = Normal({tokens, width}, 5, type);
      const auto run = [&](auto as, bool rms) {
        NormSaved saved;
        const Tensor dw = ZerosLike(as(w)), db = ZerosLike(as(b));
        if (rms) {
          const RmsNormOptions options{.epsilon = 1e-5, .offset = tokens % 2 == 0 ? 1.0 : 0.0};
          const Tensor y = RmsNormForward(as(x), as(w), options, saved);
          return std::vector{
              y, RmsNormBackward(as(dy), as(x), as(w), options, saved, dw, as(residual)), dw, db};
        }
        const Tensor y = LayerNormForward(as(x), as(w), as(b), 1e-5, saved);
        return std::vector{y, LayerNormBackward(as(dy), as(x), as(w), saved, dw, db, as(residual)),
                           dw, db};
      };
      for (const bool rms : {true, false}) {
        if (width < 3 && !rms) continue;  // a variance of next to nothing amplifies every rounding
        const auto actual = run([](const Tensor& t) { return t; }, rms);
        const auto expected = run(Double, rms);
        EXPECT_CLOSE(actual[0], expected[0], Rounding(type));
        EXPECT_CLOSE(actual[1], expected[1], 3 * Rounding(type));
        EXPECT_CLOSE(actual[2], expected[2], SumRounding(type));
        if (!rms) {
          EXPECT_CLOSE(actual[3], expected[3], SumRounding(type));
        }
      }
    }
  }
}

TEST(KernelActivations, AgreeWithTheCompositions) {
  for (const at::ScalarType type : kTypes) {
    for (const auto& [tokens, width] : kSizes) {
      SCOPED_TRACE(testing::Message() << type << " " << tokens << " x " << width);
      const Tensor x = 3 * Normal({tokens, width}, 1, type), dy = Normal({tokens, width}, 2, type);
      EXPECT_CLOSE(GeluTanhForward(x), GeluTanhForward(Double(x)), Rounding(type));
      EXPECT_CLOSE(GeluTanhBackward(dy, x), GeluTanhBackward(Double(dy), Double(x)),
                   Rounding(type));
      const Tensor gate_up = 3 * Normal({tokens, 2 * width}, 3, type);
      EXPECT_CLOSE(SwiGluForward(gate_up), SwiGluForward(Double(gate_up)), Rounding(type));
      EXPECT_CLOSE(SwiGluBackward(dy, gate_up), SwiGluBackward(Double(dy), Double(gate_up)),
                   Rounding(type));
      EXPECT_CLOSE(GeGluTanhForward(gate_up), GeGluTanhForward(Double(gate_up)), Rounding(type));
      EXPECT_CLOSE(GeGluTanhBackward(dy, gate_up), GeGluTanhBackward(Double(dy), Double(gate_up)),
                   Rounding(type));
    }
  }
}

TEST(KernelActivations, BearLargeNumbersAndPassOnNaN) {
  const Tensor x = at::tensor({-1e15F, -90.0F, -0.0F, 0.0F, 90.0F, 1e15F}).view({1, 6});
  const Tensor ones = at::ones_like(x);
  EXPECT_TRUE(
      at::allclose(GeluTanhForward(x), at::tensor({0.F, 0.F, 0.F, 0.F, 90.F, 1e15F}), 1e-6, 1e-20));
  EXPECT_TRUE(
      at::allclose(GeluTanhBackward(ones, x), at::tensor({0.F, 0.F, .5F, .5F, 1.F, 1.F}), 1e-6));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const at::ScalarType type : kTypes) {
    const Tensor bad = at::tensor({1.0F, nan, 2.0F, 3.0F}).view({1, 4}).to(type);
    const Tensor is_bad = at::tensor({0, 1, 0, 0}).to(at::kBool).view({1, 4});
    EXPECT_TRUE(at::equal(GeluTanhForward(bad).isnan(), is_bad));
    EXPECT_TRUE(SwiGluForward(bad).isnan().sum().item<int64_t>() == 1);
    NormSaved saved;
    EXPECT_TRUE(RmsNormForward(bad, at::ones({4}, type), {}, saved).isnan().all().item<bool>());
  }
}

TEST(KernelRope, AgreesWithTheComposition) {
  for (const at::ScalarType type : kTypes) {
    for (const int64_t width : {2, 6, 64, 80}) {
      const RopeTable exact = MakeRopeTable(40, AnglesOf(width, 10000.0), at::kDouble);
      const RopeTable table{exact.cos_PH.to(at::kFloat), exact.sin_PH.to(at::kFloat)};
      // The heads of queries and keys, in rows that go on with the values.
      const Tensor rows = Normal({40, 5 * width}, 1, type), wide_rows = Double(rows);
      const auto heads = [&](const Tensor& x) {
        return x.narrow(1, 0, 3 * width).view({40, 3, width});
      };
      RopeForward(heads(rows), table);
      RopeForward(heads(wide_rows), exact);
      EXPECT_CLOSE(rows, wide_rows, Rounding(type));
      RopeBackward(heads(rows), table);
      RopeBackward(heads(wide_rows), exact);
      EXPECT_CLOSE(rows, wide_rows, 2 * Rounding(type));
    }
  }
}

TEST(KernelEmbedding, AddsEveryRowOfRepeatedIds) {
  for (const at::ScalarType type : kTypes) {
    const Tensor ids = at::arange(200, at::kLong).mul(7).remainder(13);
    const Tensor dy = Normal({200, 37}, 1, type);
    const Tensor actual = Normal({20, 37}, 2, at::kFloat), expected = Double(actual);
    EmbeddingBackward(dy, ids, actual);
    EmbeddingBackward(Double(dy), ids, expected);
    EXPECT_CLOSE(actual, expected, 3e-6);
  }
}

// The compositions round logits to bfloat16, the kernels do not.
double LogitRounding(at::ScalarType type) {
  const bool rounds = type == at::kBFloat16 && !KernelsOn();
  return rounds ? 6e-3 : 1e-5;
}

TEST(KernelHead, AgreesWithTheCompositionForAnyVocabulary) {
  for (const at::ScalarType type : kTypes) {
    const double logit_rounding = LogitRounding(type);
    for (const int64_t vocab : {2, 11, 257, 5000}) {
      SCOPED_TRACE(testing::Message() << type << " " << vocab);
      const int64_t tokens = 70, width = 24;
      const Tensor hidden = Normal({tokens, width}, 1, type),
                   weight = Normal({vocab, width}, 2, type);
      const Tensor target = at::arange(tokens, at::kLong).mul(7).remainder(vocab);
      const Tensor dlogprob = Normal({tokens}, 3, at::kFloat);
      const Tensor dw = ZerosLike(weight), expected_dw = ZerosLike(Double(weight));
      const HeadResult actual =
          HeadForwardBackward(hidden, {.weight_VD = weight, .dweight_VD = dw}, target, dlogprob);
      const HeadResult expected = HeadForwardBackward(
          Double(hidden), {.weight_VD = Double(weight), .dweight_VD = expected_dw}, target,
          Double(dlogprob));
      EXPECT_CLOSE(actual.signals.logprob_N, expected.signals.logprob_N, logit_rounding);
      EXPECT_CLOSE(actual.signals.logsumexp_N, expected.signals.logsumexp_N, logit_rounding);
      EXPECT_TRUE(at::equal(actual.signals.argmax_match_N, expected.signals.argmax_match_N));
      EXPECT_CLOSE(actual.dhidden_ND, expected.dhidden_ND, 2 * Rounding(type));
      EXPECT_CLOSE(dw, expected_dw, (KernelsOn() ? 1 : 2) * Rounding(type));

      const HeadSignals signals = HeadForward(hidden, {weight}, target);
      const HeadSignals exact = HeadForward(Double(hidden), {Double(weight)}, target);
      EXPECT_CLOSE(signals.logprob_N, exact.logprob_N, logit_rounding);
      EXPECT_TRUE(at::allclose(Double(signals.entropy_N), exact.entropy_N, 10 * logit_rounding,
                               5 * logit_rounding));
    }
  }
}

TEST(KernelHead, AHiddenNaNSpoilsItsOwnTokenAlone) {
  const Tensor hidden = Normal({40, 8}, 1, at::kFloat), weight = Normal({50, 8}, 2, at::kFloat);
  hidden[3].fill_(std::numeric_limits<float>::quiet_NaN());
  const HeadSignals signals = HeadForward(hidden, {weight}, at::zeros({40}, at::kLong));
  EXPECT_EQ(signals.logprob_N.isnan().sum().item<int64_t>(), 1);
  EXPECT_TRUE(signals.logprob_N[3].isnan().item<bool>());
}

struct ProductSizes {
  int64_t m, n, k;
};
constexpr ProductSizes kProducts[] = {{32, 16, 2},    {33, 7, 30},     {130, 1, 64},
                                      {200, 513, 96}, {70, 100, 2050}, {300, 70, 1502}};

TEST(KernelProducts, AgreeWithFloat64) {
  const at::ScalarType type = at::kBFloat16;
  // The kernels add exact products in float32; ATen rounds their sum to bfloat16 before it is
  // added.
  const double gradient_rounding = KernelsOn() ? 2e-6 : 6e-3;
  for (const auto& [m, n, k] : kProducts) {
    SCOPED_TRACE(testing::Message() << m << " " << n << " " << k);
    const Tensor x = Normal({m, k}, 1, type), w = Normal({n, k}, 2, type);
    const Tensor stored = w.t().contiguous();  // as Conv1D stores it
    const Tensor bias = Normal({n}, 3, type), residual = Normal({m, n}, 4, type);
    const Tensor exact = Double(x).matmul(Double(w).t());
    EXPECT_CLOSE(LinearForward(x, w, bias, residual), exact + Double(bias) + Double(residual),
                 3e-3);
    EXPECT_CLOSE(LinearForward(x, stored.t(), {}), exact, 3e-3);
    const Tensor wide = WideProduct(x, w.t());
    EXPECT_EQ(wide.scalar_type(), at::kFloat);

    const Tensor dy = Normal({m, n}, 5, type);
    const Tensor dw = Normal({n, k}, 6, at::kFloat), db = Normal({n}, 7, at::kFloat);
    const Tensor expected_dw = Double(dw) + Double(dy).t().matmul(Double(x));
    const Tensor expected_db = Double(db) + Double(dy).sum(0);
    const Tensor dstored = dw.t().clone(at::MemoryFormat::Contiguous);
    EXPECT_CLOSE(LinearBackward(dy, x, w, dw, db), Double(dy).matmul(Double(w)), 3e-3);
    EXPECT_CLOSE(dw, expected_dw, gradient_rounding);
    EXPECT_CLOSE(db, expected_db, 2e-6);
    LinearBackward(dy, x, stored.t(), dstored.t(), {});
    EXPECT_CLOSE(dstored.t(), expected_dw, gradient_rounding);
  }
}

TEST(KernelProducts, OfAFewRowsAgreeWithFloat64AndDoNotSeeEachOther) {
  for (const at::ScalarType type : kTypes) {
    for (const auto& [rows, outputs, inputs] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                                {1, 130, 64},
                                                {3, 7, 33},
                                                {7, 514, 100},
                                                {16, 65, 1536}}) {
      SCOPED_TRACE(testing::Message() << type << " " << rows << " " << outputs << " " << inputs);
      // More bfloat16 rows are oneDNN's where the machine multiplies them.
      if (type == at::kBFloat16 && rows > 4 && HasBfloat16Products()) continue;
      const Tensor x = Normal({rows, inputs}, 1, type), w = Normal({outputs, inputs}, 2, type);
      const Tensor bias = Normal({outputs}, 3, type), residual = Normal({rows, outputs}, 4, type);
      const Tensor y = LinearForward(x, w, bias, residual);
      const Tensor exact = Double(x).matmul(Double(w).t());
      EXPECT_CLOSE(y, exact + Double(bias) + Double(residual), Rounding(type));
      EXPECT_CLOSE(WideProduct(x, w.t()), exact, KernelsOn() ? 3e-6 : Rounding(type));
      if (!KernelsOn()) continue;
      for (int64_t row = 0; row < rows; ++row) {
        const Tensor alone =
            LinearForward(x.narrow(0, row, 1), w, bias, residual.narrow(0, row, 1));
        EXPECT_TRUE(at::equal(alone[0], y[row])) << row;
      }
    }
  }
}

struct AttentionCase {
  std::vector<int32_t> cu_seqlens;
  AttentionShape shape;
};

TEST(KernelAttention, AgreesWithTheCompositionOverLengthsHeadsAndWidths) {
  const AttentionCase cases[] = {
      {{0, 1}, {.heads = 1, .kv_heads = 1, .width = 2}},
      {{0, 1, 1, 2, 65, 128, 192}, {.heads = 2, .kv_heads = 1, .width = 6}},
      {{0, 63, 127, 192}, {.heads = 3, .kv_heads = 3, .width = 64}},
      {{0, 129, 642}, {.heads = 4, .kv_heads = 2, .width = 48}},
      {{0, 1100}, {.heads = 2, .kv_heads = 2, .width = 80}},
      {{0, 70, 700}, {.heads = 1, .kv_heads = 1, .width = 128}},
  };
  for (const at::ScalarType type : kTypes) {
    for (const auto& [cu_seqlens, base] : cases) {
      for (const bool causal : {true, false}) {
        SCOPED_TRACE(testing::Message() << type << " " << cu_seqlens.back() << " " << base.width
                                        << (causal ? " causal" : " all"));
        AttentionShape shape = base;
        shape.causal = causal;
        const Tensor qkv = Normal({cu_seqlens.back(), shape.packed_width()}, 1, type);
        const Tensor dout = Normal({cu_seqlens.back(), shape.heads * shape.width}, 2, type);
        AttentionSaved saved, exact;
        const double tolerance = type == at::kFloat ? 3e-6 : 1.2e-2;
        EXPECT_CLOSE(AttentionForward(qkv, cu_seqlens, shape, saved),
                     AttentionForward(Double(qkv), cu_seqlens, shape, exact), tolerance);
        EXPECT_CLOSE(AttentionBackward(dout, qkv, cu_seqlens, shape, saved),
                     AttentionBackward(Double(dout), Double(qkv), cu_seqlens, shape, exact),
                     tolerance);
      }
    }
  }
}

TEST(KernelAttention, AgreesWithTheCompositionUnderWindowsCapsAndScales) {
  const AttentionCase cases[] = {
      {{0, 1, 65, 300}, {.heads = 2, .kv_heads = 1, .width = 16, .window = 1}},
      {{0, 70, 700}, {.heads = 2, .kv_heads = 2, .width = 32, .window = 64}},
      {{0, 1300}, {.heads = 1, .kv_heads = 1, .width = 8, .window = 600, .scale = 0.7}},
      {{0, 200, 201, 420}, {.heads = 4, .kv_heads = 2, .width = 24, .softcap = 2}},
      {{0, 90, 350},
       {.heads = 2, .kv_heads = 1, .width = 64, .window = 33, .scale = 0.2, .softcap = 1.5}},
      {{0, 150}, {.heads = 2, .kv_heads = 1, .width = 32, .causal = false, .softcap = 3}},
      {{0, 1, 65, 300}, {.heads = 2, .kv_heads = 1, .width = 16, .causal = false, .window = 1}},
      {{0, 70, 700}, {.heads = 2, .kv_heads = 2, .width = 32, .causal = false, .window = 65}},
      {{0, 30, 1300}, {.heads = 1, .kv_heads = 1, .width = 8, .causal = false, .window = 600}},
  };
  for (const at::ScalarType type : kTypes) {
    for (const auto& [cu_seqlens, shape] : cases) {
      SCOPED_TRACE(testing::Message() << type << " " << cu_seqlens.back() << " window "
                                      << shape.window << " softcap " << shape.softcap);
      const Tensor qkv = Normal({cu_seqlens.back(), shape.packed_width()}, 1, type);
      const Tensor dout = Normal({cu_seqlens.back(), shape.heads * shape.width}, 2, type);
      AttentionSaved saved, exact;
      const double tolerance = type == at::kFloat ? 3e-6 : 1.2e-2;
      EXPECT_CLOSE(AttentionForward(qkv, cu_seqlens, shape, saved),
                   AttentionForward(Double(qkv), cu_seqlens, shape, exact), tolerance);
      EXPECT_CLOSE(AttentionBackward(dout, qkv, cu_seqlens, shape, saved),
                   AttentionBackward(Double(dout), Double(qkv), cu_seqlens, shape, exact),
                   tolerance);
    }
  }
}

TEST(KernelAttention, DecodesSingleTokensAsTheCompositionDoes) {
  const AttentionShape shapes[] = {
      {.heads = 4, .kv_heads = 2, .width = 24},
      {.heads = 3, .kv_heads = 3, .width = 7, .window = 9},
      {.heads = 2, .kv_heads = 1, .width = 64, .window = 200, .scale = 0.3, .softcap = 1.5}};
  for (const at::ScalarType type : kTypes) {
    for (const AttentionShape& shape : shapes) {
      SCOPED_TRACE(testing::Message() << type << " " << shape.width);
      const std::vector<int64_t> lengths = {1, 40, 333};
      const Tensor qkv = Normal({3, shape.packed_width()}, 1, type);
      const auto decode = [&](auto as) {
        std::vector<KvLayer> layers;
        std::vector<CachedItem> items;
        for (size_t i = 0; i < lengths.size(); ++i) {
          const std::vector<int64_t> sizes = {lengths[i] + 1, shape.kv_heads, shape.width};
          layers.push_back({as(Normal(sizes, 10 + i, type)), as(Normal(sizes, 20 + i, type))});
        }
        for (size_t i = 0; i < lengths.size(); ++i) items.push_back({1, lengths[i], &layers[i]});
        return AttentionDecode(as(qkv), items, shape);
      };
      EXPECT_CLOSE(decode([](const Tensor& t) { return t; }), decode(Double),
                   type == at::kFloat ? 3e-6 : 6e-3);
    }
  }
}

TEST(KernelAttention, BearsScoresThatExpCannotHold) {
  const AttentionShape shape{.heads = 1, .kv_heads = 1, .width = 4};
  for (const at::ScalarType type : kTypes) {
    const Tensor qkv = 300 * Normal({100, shape.packed_width()}, 1, type);
    AttentionSaved saved, exact;
    EXPECT_CLOSE(AttentionForward(qkv, {0, 100}, shape, saved),
                 AttentionForward(Double(qkv), {0, 100}, shape, exact), 1e-2);
    EXPECT_TRUE(AttentionBackward(at::ones({100, 4}, type), qkv, {0, 100}, shape, saved)
                    .isfinite()
                    .all()
                    .item<bool>());
  }
}

TEST(KernelAttention, ANaNReachesItsTokenAndNoOtherItem) {
  const AttentionShape shape{.heads = 2, .kv_heads = 2, .width = 8};
  const Tensor qkv = Normal({150, shape.packed_width()}, 1, at::kFloat);
  qkv[90].fill_(std::numeric_limits<float>::quiet_NaN());
  AttentionSaved saved;
  const Tensor out = AttentionForward(qkv, {0, 100, 150}, shape, saved);
  EXPECT_TRUE(out.narrow(0, 90, 10).isnan().all().item<bool>());
  EXPECT_FALSE(out.narrow(0, 100, 50).isnan().any().item<bool>());
}

TEST(Kernels, TwoRunsHaveTheSameBits) {
  const Tensor x = Normal({300, 96}, 1, at::kBFloat16), w = Normal({200, 96}, 2, at::kBFloat16);
  const Tensor dy = Normal({300, 200}, 3, at::kBFloat16);
  const auto gradient = [&] {
    const Tensor dw = at::zeros({200, 96}, at::kFloat);
    LinearBackward(dy, x, w, dw, {});
    return dw;
  };
  EXPECT_TRUE(at::equal(gradient(), gradient()));
  EXPECT_TRUE(at::equal(LinearForward(x, w, {}), LinearForward(x, w, {})));
}

TEST(Parallel, UsesTheThreadsItIsGiven) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  absl::Mutex mutex;
  std::set<std::thread::id> seen;
  at::parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    const absl::MutexLock lock(&mutex);
    seen.insert(std::this_thread::get_id());
  });
  at::set_num_threads(before);
  EXPECT_EQ(seen.size(), 2U);
}

}  // namespace
}  // namespace trainyard::worker

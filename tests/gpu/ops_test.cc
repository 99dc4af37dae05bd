// Every operation on the GPU against the same composition on the CPU in float64, which the tests of
// worker/ops hold to autograd.
#include <gtest/gtest.h>

#include "common/model/rope_config.h"
#include "tests/gpu/gpu.h"
#include "tests/worker/support/autograd.h"
#include "worker/ops/activation.h"
#include "worker/ops/attention.h"
#include "worker/ops/embedding.h"
#include "worker/ops/head.h"
#include "worker/ops/linear.h"
#include "worker/ops/norm.h"
#include "worker/ops/rope.h"
#include "worker/optim/device_update.h"

namespace trainyard::worker {
namespace {

using Tensors = std::vector<Tensor>;

// From inputs of one type and device to all that the operation computes, forward and backward.
struct OpCase {
  const char* name;
  Tensors inputs;  // float64, on the CPU
  std::function<Tensors(const Tensors&)> run;
};
void PrintTo(const OpCase& c, std::ostream* out) { *out << c.name; }

Tensor WideZeros(const Tensor& like) {
  return at::zeros(like.sizes(), like.options().dtype(WideType(like.scalar_type())));
}
Tensor Ids(at::IntArrayRef shape, int64_t below, const Tensor& like) {
  at::manual_seed(7);
  return at::randint(below, shape, at::kLong).to(like.device());
}

OpCase Attention(const char* name, std::vector<int32_t> cu_seqlens, AttentionShape shape) {
  const int64_t tokens = cu_seqlens.back();
  return {
      name,
      {Normal({tokens, shape.packed_width()}, 1), Normal({tokens, shape.heads * shape.width}, 2)},
      [=](const Tensors& in) -> Tensors {
        AttentionSaved saved;
        Tensor out = AttentionForward(in[0], cu_seqlens, shape, saved);
        return {out, AttentionBackward(in[1], in[0], cu_seqlens, shape, saved)};
      }};
}

std::vector<OpCase> Ops() {
  std::vector<OpCase> ops;
  ops.push_back({"rms_norm",
                 {Normal({33, 96}, 1), Normal({96}, 2), Normal({33, 96}, 3), Normal({33, 96}, 4)},
                 [](const Tensors& in) -> Tensors {
                   NormSaved saved;
                   const Tensor y = RmsNormForward(in[0], in[1], {}, saved);
                   const Tensor dw = WideZeros(in[1]);
                   return {y, RmsNormBackward(in[2], in[0], in[1], {}, saved, dw, in[3]), dw};
                 }});
  ops.push_back({"layer_norm",
                 {Normal({33, 96}, 1), Normal({96}, 2), Normal({96}, 3), Normal({33, 96}, 4)},
                 [](const Tensors& in) -> Tensors {
                   NormSaved saved;
                   const Tensor y = LayerNormForward(in[0], in[1], in[2], 1e-5, saved);
                   const Tensor dw = WideZeros(in[1]), db = WideZeros(in[2]);
                   return {y, LayerNormBackward(in[3], in[0], in[1], saved, dw, db), dw, db};
                 }});
  ops.push_back(
      {"gelu", {Normal({17, 130}, 1), Normal({17, 130}, 2)}, [](const Tensors& in) -> Tensors {
         return {GeluTanhForward(in[0]), GeluTanhBackward(in[1], in[0])};
       }});
  ops.push_back(
      {"swiglu", {Normal({17, 130}, 1), Normal({17, 65}, 2)}, [](const Tensors& in) -> Tensors {
         return {SwiGluForward(in[0]), SwiGluBackward(in[1], in[0])};
       }});
  ops.push_back({"rope", {Normal({50, 3, 48}, 1)}, [](const Tensors& in) -> Tensors {
                   const RopeTable rope = MakeRopeTable(50, {RopeFrequencies<double>({}, 48)},
                                                        in[0].scalar_type(), in[0].device());
                   const Tensor there = in[0].clone(), back = in[0].clone();
                   RopeForward(there, rope);
                   RopeBackward(back, rope);
                   return {there, back};
                 }});
  ops.push_back(
      {"embedding", {Normal({41, 64}, 1), Normal({300, 64}, 2)}, [](const Tensors& in) -> Tensors {
         const Tensor ids = Ids({300}, 41, in[0]), dweight = WideZeros(in[0]);
         EmbeddingBackward(in[1], ids, dweight);
         return {EmbeddingForward(in[0], ids), dweight};
       }});
  ops.push_back({"linear",
                 {Normal({70, 64}, 1), Normal({96, 64}, 2), Normal({96}, 3), Normal({70, 96}, 4)},
                 [](const Tensors& in) -> Tensors {
                   const Tensor dw = WideZeros(in[1]), db = WideZeros(in[2]);
                   const Tensor y = LinearForward(in[0], in[1], in[2], in[3]);
                   const Tensor dx = LinearBackward(in[3], in[0], in[1], dw, db);
                   return {y, dx, dw, db};
                 }});
  ops.push_back({"linear_stored_in_out",
                 {Normal({70, 64}, 1), Normal({64, 96}, 2), Normal({70, 96}, 4)},
                 [](const Tensors& in) -> Tensors {
                   const Tensor dw = WideZeros(in[1]);
                   const Tensor y = LinearForward(in[0], in[1].t(), {}, {});
                   return {y, LinearBackward(in[2], in[0], in[1].t(), dw.t(), {}), dw};
                 }});
  ops.push_back(Attention("attention_equal_items", {0, 64, 128, 192}, {4, 4, 64}));
  ops.push_back(Attention("attention_unequal_items", {0, 1, 8, 200, 331}, {4, 2, 48}));
  ops.push_back(Attention("attention_odd_width", {0, 20, 33}, {2, 1, 6}));
  ops.push_back(Attention("attention_both_ways", {0, 50, 130}, {2, 2, 32, /*causal=*/false}));
  ops.push_back({"head",
                 {Normal({90, 64}, 1), Normal({211, 64}, 2), Normal({90}, 3), Normal({90}, 4)},
                 [](const Tensors& in) -> Tensors {
                   const Tensor target = Ids({90}, 211, in[0]), dweight = WideZeros(in[1]);
                   const HeadWeights head{.weight_VD = in[1], .dweight_VD = dweight};
                   const HeadSignals signals = HeadForward(in[0], head, target);
                   const Tensor dhidden =
                       HeadBackward(in[0], head, target, signals, Widen(in[2]), Widen(in[3]));
                   return {signals.logprob_N, signals.entropy_N, dhidden, dweight};
                 }});
  ops.push_back({"head_in_one_sweep",
                 {Normal({90, 64}, 1), Normal({211, 64}, 2), Normal({90}, 3)},
                 [](const Tensors& in) -> Tensors {
                   const Tensor target = Ids({90}, 211, in[0]), dweight = WideZeros(in[1]);
                   const HeadResult head = HeadForwardBackward(
                       in[0], {.weight_VD = in[1], .dweight_VD = dweight}, target, Widen(in[2]));
                   return {head.signals.logprob_N, head.dhidden_ND, dweight};
                 }});
  return ops;
}

class OpOnGpu : public testing::TestWithParam<OpCase> {
 protected:
  void SetUp() override { SKIP_WITHOUT_GPU(); }
  void Compare(at::ScalarType type, double tolerance) {
    Tensors here, there;
    for (const Tensor& input : GetParam().inputs) {
      const Tensor rounded = input.to(type);
      here.push_back(rounded.to(at::kDouble));
      there.push_back(rounded.to(at::kCUDA));
    }
    const WithoutAutograd guard;
    const Tensors expected = GetParam().run(here), got = GetParam().run(there);
    const Tensors again = GetParam().run(there);
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_CLOSE(got[i].cpu(), expected[i], tolerance) << "output " << i;
      EXPECT_TRUE(at::equal(got[i], again[i])) << "output " << i << " differs from run to run";
    }
  }
};

TEST_P(OpOnGpu, InFloat64Agrees) { Compare(at::kDouble, 1e-11); }
TEST_P(OpOnGpu, InFloat32StaysWithinItsRounding) { Compare(at::kFloat, 5e-6); }
TEST_P(OpOnGpu, InBfloat16StaysWithinItsRounding) { Compare(at::kBFloat16, 1.5e-2); }

INSTANTIATE_TEST_SUITE_P(All, OpOnGpu, testing::ValuesIn(Ops()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace trainyard::worker

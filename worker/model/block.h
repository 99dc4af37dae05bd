// One block of a decoder. Shape letters as in transformer.h.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "common/plan/recompute.h"
#include "worker/model/config.h"
#include "worker/ops/attention.h"
#include "worker/ops/norm.h"
#include "worker/ops/rope.h"
#include "worker/ops/tensor.h"

namespace trainyard::worker {

// A weight and its gradient: views into the flat buffers. Both undefined where the family has none.
struct Parameter {
  Tensor value;
  Tensor gradient;
};
struct Norm {
  NormKind kind = NormKind::kRms;
  double epsilon = 1e-5;
  Parameter weight_D, bias_D;

  Tensor Forward(const Tensor& x_TD, NormSaved& saved) const;
  // The gradient by x, plus `dresidual_TD`, the one that reaches x past the norm.
  Tensor Backward(const Tensor& dy_TD, const Tensor& x_TD, const NormSaved& saved,
                  const Tensor& dresidual_TD = {}) const;
};
struct Linear {
  Parameter weight_OI, bias_O;

  // y = x W^T + b + residual (undefined: none).
  Tensor Forward(const Tensor& x_TI, const Tensor& residual_TO = {}) const;
  Tensor Backward(const Tensor& dy_TO, const Tensor& x_TI) const;
};

// The tokens' places, as blocks see them.
struct Places {
  std::vector<int32_t> cu_seqlens;
  RopeTable rope;  // a row per token; empty with learned positions
};

// What backward needs of a block's forward pass; undefined is what it computes again.
struct BlockSaved {
  Tensor x_TD, attention_normed_TD, qkv_TE, h_TD, mlp_normed_TD, mlp_in_TM, mlp_activated_TM;
  NormSaved attention_norm, mlp_norm;
  AttentionSaved attention;
};

// The pre-norm residual block (Xiong et al. 2020, arXiv:2002.04745):
//   h = x + Attention(Norm(x)),  y = h + MLP(Norm(h)).
struct Block {
  AttentionShape shape;
  PositionKind position = PositionKind::kRope;
  MlpKind mlp = MlpKind::kSwiGlu;
  Norm attention_norm, mlp_norm;
  Linear qkv, attention_out, mlp_in, mlp_out;
  plan::Recompute recompute = plan::Recompute::kNone;

  Tensor Forward(const Tensor& x_TD, const Places& places, BlockSaved& saved) const;
  // Takes d loss / d y, adds the parameters' gradients, returns d loss / d x.
  Tensor Backward(const Tensor& dy_TD, const Places& places, const BlockSaved& saved) const;
  // Forward for tokens that continue one item of `length` tokens; keeps nothing but the cache.
  Tensor Decode(const Tensor& x_TD, const Places& places, int64_t length,
                const KvLayer& cache) const;

 private:
  using Attend = std::function<Tensor(const Tensor& qkv_TE)>;
  // Up to the MLP's activation.
  void RunInner(const Tensor& x_TD, const Places& places, const Attend& attend,
                BlockSaved& saved) const;
  Tensor Run(const Tensor& x_TD, const Places& places, const Attend& attend,
             BlockSaved& saved) const;
  Attend AttendTo(const Places& places, BlockSaved& saved) const;
  void Forget(BlockSaved& saved) const;
  Tensor Activate(const Tensor& in_TM) const;
  Tensor ActivateBackward(const Tensor& dout_TM, const Tensor& in_TM) const;
  // The two halves of Backward: from d loss / d y to d loss / d h, and on to d loss / d x.
  Tensor MlpBackward(const Tensor& dy_TD, const BlockSaved& saved) const;
  Tensor AttentionHalfBackward(const Tensor& dh_TD, const Places& places,
                               const BlockSaved& saved) const;
  // The queries and keys of the packed tensor, which rope turns.
  Tensor QueriesAndKeys(const Tensor& qkv_TE) const;
};

}  // namespace trainyard::worker

// One block. Shape letters as in transformer.h.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "common/model/config.h"
#include "common/plan/recompute.h"
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
  double offset = 0;  // added to an RMS norm's weight
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
  RopeTable rope;        // a row per token; empty with learned positions
  RopeTable local_rope;  // of the layers that have their own; else empty
};

// What backward needs of a block's forward pass; undefined is what it computes again, or what the
// family does not have.
struct HalfSaved {
  Tensor in_TD, normed_TD;
  Tensor result_TD;  // what the norm after saw
  NormSaved before, after;
};
struct BlockSaved {
  HalfSaved attention_half, mlp_half;
  Tensor query_TQH, key_TKH;  // before their norms
  NormSaved query_norm, key_norm;
  Tensor qkv_TE, mlp_in_TM, mlp_activated_TM;
  AttentionSaved attention;
};

// Where the norms of a half F of a block stand (NormPlace):
//   kBefore  x + F(N(x))       Xiong et al. 2020, arXiv:2002.04745
//   kAround  x + N'(F(N(x)))   Gemma 2
//   kAfter   N'(x + F(x))      Vaswani et al. 2017, arXiv:1706.03762
struct HalfNorms {
  NormPlace place = NormPlace::kBefore;
  Norm before, after;

  // What F sees.
  Tensor Enter(const Tensor& x_TD, HalfSaved& saved) const;
  // The half's output; F ends with `last`, whose input is `in_TI`.
  Tensor Leave(const Linear& last, const Tensor& in_TI, const Tensor& x_TD, HalfSaved& saved) const;
  // From the gradient by the half's output to those by F's output and, past F, by x.
  struct Parts {
    Tensor dresult_TD, dresidual_TD;
  };
  Parts LeaveBackward(const Tensor& dy_TD, const HalfSaved& saved) const;
  // From the gradient by what F sees to that by x.
  Tensor EnterBackward(const Tensor& dnormed_TD, const Tensor& dresidual_TD,
                       const HalfSaved& saved) const;
  // What F sees, as it was kept or made again.
  Tensor Seen(const HalfSaved& saved) const;
};

// h = the attention's half of x, y = the MLP's half of h.
struct Block {
  AttentionShape shape;
  PositionKind position = PositionKind::kRope;
  bool local_rope = false;
  MlpKind mlp = MlpKind::kSwiGlu;
  HalfNorms attention_norms, mlp_norms;
  bool query_key_norm = false;  // of each head, before rope
  Norm query_norm_H, key_norm_H;
  Linear qkv, attention_out, mlp_in, mlp_out;
  plan::Recompute recompute = plan::Recompute::kNone;

  Tensor Forward(const Tensor& x_TD, const Places& places, BlockSaved& saved) const;
  // Takes d loss / d y, adds the parameters' gradients, returns d loss / d x.
  Tensor Backward(const Tensor& dy_TD, const Places& places, const BlockSaved& saved) const;
  // Forward for new tokens of items whose earlier keys and values are cached; attends by `attend`
  // and keeps nothing.
  using Attend = std::function<Tensor(const Tensor& qkv_TE)>;
  Tensor Decode(const Tensor& x_TD, const Places& places, const Attend& attend) const;

 private:
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
  const RopeTable& RopeOf(const Places& places) const {
    return local_rope ? places.local_rope : places.rope;
  }
  void NormQueriesAndKeys(const Tensor& qkv_TE, BlockSaved& saved) const;
  void NormQueriesAndKeysBackward(const Tensor& dqkv_TE, const BlockSaved& saved) const;
  // The heads [first, first + count) of the packed tensor.
  Tensor Heads(const Tensor& qkv_TE, int64_t first, int64_t count) const;
  // The queries and keys of the packed tensor, which rope turns.
  Tensor QueriesAndKeys(const Tensor& qkv_TE) const;
};

}  // namespace trainyard::worker

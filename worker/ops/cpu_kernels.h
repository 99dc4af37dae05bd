// The CPU kernels of the operations. Each has its ATen composition beside it (norm.cc,
// activation.cc, ...), which says what it computes and is what tests compare it with.
//
// Raw pointers, row-major; contiguous unless a stride is given; float32 inside, whatever the memory
// holds. `Real` is float or Bfloat16. Parallel over at::parallel_for; for one thread count and one
// instruction set the bits never change.
// Shape letters: T tokens (rows), D width of a row, M MLP width, N heads, H head width, V
// vocabulary, C tokens of a chunk.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <string>

namespace trainyard::worker {

using Bfloat16 = c10::BFloat16;

// What runs: "off" (the compositions), or the instruction set that kernels use, as Highway spells
// it: the best one of the machine, unless the environment variable TRAINYARD_KERNELS is "off" or
// names a lesser one ("AVX2", "SSE4", ...). Read once, when first asked.
const std::string& KernelTarget();
bool KernelsOn();

// ---- norm.h

template <class Real>
struct NormForwardArgs {
  const Real* x_TD;
  const Real* weight_D;
  const Real* bias_D;  // layer norm only
  float weight_offset;
  float epsilon;
  int64_t tokens, width;
  Real* y_TD;
  float* mean_T;  // layer norm only
  float* rstd_T;
};
template <class Real>
struct NormBackwardArgs {
  const Real* dy_TD;
  const Real* x_TD;
  const Real* weight_D;
  float weight_offset;
  const float* mean_T;  // layer norm only
  const float* rstd_T;
  const Real* dresidual_TD;  // added to dx; may be null
  int64_t tokens, width;
  Real* dx_TD;
  float* dweight_D;  // added into
  float* dbias_D;    // added into; layer norm only
};
template <class Real>
void RmsNormForwardCpu(const NormForwardArgs<Real>& args);
template <class Real>
void RmsNormBackwardCpu(const NormBackwardArgs<Real>& args);
template <class Real>
void LayerNormForwardCpu(const NormForwardArgs<Real>& args);
template <class Real>
void LayerNormBackwardCpu(const NormBackwardArgs<Real>& args);

// ---- activation.h

template <class Real>
struct ActivationArgs {
  const Real* dy;  // backward only
  const Real* x;   // SwiGLU, GeGLU: rows of [gate | up]
  int64_t tokens, width;
  Real* out;  // y or dx
};
template <class Real>
void GeluTanhForwardCpu(const ActivationArgs<Real>& args);
template <class Real>
void GeluTanhBackwardCpu(const ActivationArgs<Real>& args);
template <class Real>
void SwiGluForwardCpu(const ActivationArgs<Real>& args);
template <class Real>
void SwiGluBackwardCpu(const ActivationArgs<Real>& args);
template <class Real>
void GeGluTanhForwardCpu(const ActivationArgs<Real>& args);
template <class Real>
void GeGluTanhBackwardCpu(const ActivationArgs<Real>& args);

// ---- rope.h: in place, over the first `heads` heads of rows that are `stride` apart.

template <class Real>
struct RopeArgs {
  Real* x_TNH;
  const float* cos_TH;  // [tokens, width / 2]
  const float* sin_TH;
  float direction;  // 1 turns, -1 turns back
  int64_t tokens, stride, heads, width;
};
template <class Real>
void RopeCpu(const RopeArgs<Real>& args);

// ---- head.h: a chunk of logits becomes signals and, with `dlogit_CV`, the gradient by the logits
//   dlogit_j = dlogprob ([j = target] - p_j),  p = softmax(logit).
// `logit_CV` is overwritten. `dlogit_CV` may be the same memory: row by row, never behind the
// reading.

template <class Real>
struct HeadChunkArgs {
  float* logit_CV;
  const int64_t* target_C;
  const float* dlogprob_C;  // with dlogit_CV
  int64_t tokens, vocab;
  float* logprob_C;
  bool* argmax_match_C;
  float* logsumexp_C;
  float* entropy_C;  // may be null
  Real* dlogit_CV;   // may be null
  int64_t dlogit_stride;
  int64_t dlogit_columns;  // at least `vocab`; what is beyond it becomes zero
};
template <class Real>
void HeadChunkCpu(const HeadChunkArgs<Real>& args);

// ---- embedding.h: adds row t of dy into row ids[t] of dweight; for each id in the order of
// tokens.

template <class Real>
struct EmbeddingBackwardArgs {
  const Real* dy_TD;
  const int64_t* ids_T;
  int64_t tokens, width;
  float* dweight_VD;
};
template <class Real>
void EmbeddingBackwardCpu(const EmbeddingBackwardArgs<Real>& args);

}  // namespace trainyard::worker

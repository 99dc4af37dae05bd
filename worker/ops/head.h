// The language-model head: from hidden states and targets to log-probabilities and back, a chunk of
// tokens at a time, so that the logits of all tokens never exist together.
// Shape letters: N trained tokens, D width, V vocabulary, C tokens of a chunk.
#pragma once

#include "worker/ops/tensor.h"

namespace trainyard::worker {

// A head's parameters, and where their gradients are added.
struct HeadWeights {
  Tensor weight_VD;
  Tensor bias_V = {};  // undefined: none
  double softcap = 0;  // c: a logit z becomes c tanh(z / c) (Gemma 2); 0: none
  Tensor dweight_VD = {}, dbias_V = {};
};

// z = hidden W^T + b, capped, in the wide type.
Tensor HeadLogits(const Tensor& hidden_CD, const HeadWeights& head);

// Per trained token, in the wide type. With logits z and p = softmax(z):
struct HeadSignals {
  Tensor logprob_N;       // log p(target)
  Tensor entropy_N;       // -sum p log p, nats; may be undefined after HeadForwardBackward
  Tensor argmax_match_N;  // bool: no token is likelier than the target
  Tensor logsumexp_N;     // log sum exp z
};

// `target_N` is int64, every target in [0, V).
HeadSignals HeadForward(const Tensor& hidden_ND, const HeadWeights& head, const Tensor& target_N);

// The second sweep: recomputes the logits and returns d loss / d hidden, given d loss / d logprob
// and d loss / d entropy (undefined: zero).
//   d logprob / d z_j = [j = target] - p_j          d entropy / d z_j = -p_j (log p_j + entropy)
// and where logits are capped, d z / d (hidden W^T + b) = 1 - (z / c)^2.
Tensor HeadBackward(const Tensor& hidden_ND, const HeadWeights& head, const Tensor& target_N,
                    const HeadSignals& signals, const Tensor& dlogprob_N, const Tensor& dentropy_N);

struct HeadResult {
  HeadSignals signals;
  Tensor dhidden_ND;
};
// Both in one sweep, for coefficients that do not depend on the signals.
HeadResult HeadForwardBackward(const Tensor& hidden_ND, const HeadWeights& head,
                               const Tensor& target_N, const Tensor& dlogprob_N);

}  // namespace trainyard::worker

#include <algorithm>
#include <limits>
#include <vector>

#include "worker/ops/attention.h"
#include "worker/ops/attention_cpu.h"
#include "worker/ops/attention_runs.h"
#include "worker/ops/dispatch.h"

namespace trainyard::worker {
namespace {

void Append(const Tensor& qkv_TE, const CachedItem& item, const AttentionShape& shape) {
  const auto heads = [&](int64_t first) {
    return qkv_TE.narrow(1, first * shape.width, shape.kv_heads * shape.width)
        .view({item.added, shape.kv_heads, shape.width});
  };
  item.cache->keys_PKH.narrow(0, item.length, item.added).copy_(heads(shape.heads));
  item.cache->values_PKH.narrow(0, item.length, item.added)
      .copy_(heads(shape.heads + shape.kv_heads));
}

// [added, seen] true where a new token may not look.
Tensor Unseen(const CachedItem& item, const AttentionShape& shape, const Tensor& like) {
  const Tensor all_TP =
      at::ones({item.added, item.length + item.added}, like.options().dtype(at::kBool));
  Tensor unseen_TP = all_TP.triu(item.length + 1);
  if (shape.window != 0) unseen_TP.logical_or_(all_TP.tril(item.length - shape.window));
  return unseen_TP;
}

// The new tokens of one item against all that is cached, themselves included.
Tensor Continue(const Tensor& qkv_TE, const CachedItem& item, const AttentionShape& shape) {
  const int64_t seen = item.length + item.added;
  const int64_t group = shape.heads / shape.kv_heads;
  const Packed in = Split(qkv_TE, {.first_token = 0, .items = 1, .length = item.added}, shape);
  // The query heads of a key head are stacked, [K, group T, H], so that one product serves them.
  const Tensor query_KTH =
      Widen(in.query_SQTH[0]).reshape({shape.kv_heads, group * item.added, shape.width});
  const Tensor key_KPH = Widen(item.cache->keys_PKH.narrow(0, 0, seen)).transpose(0, 1);
  const Tensor value_KPH = Widen(item.cache->values_PKH.narrow(0, 0, seen)).transpose(0, 1);
  Tensor score_KTP = at::bmm(query_KTH, key_KPH.transpose(1, 2)).mul_(shape.score_scale());
  if (shape.softcap != 0) score_KTP.div_(shape.softcap).tanh_().mul_(shape.softcap);
  score_KTP.view({shape.heads, item.added, seen})
      .masked_fill_(Unseen(item, shape, score_KTP), -std::numeric_limits<double>::infinity());
  return at::bmm(at::softmax(score_KTP, -1), value_KPH)
      .view({shape.heads, item.added, shape.width})
      .transpose(0, 1)
      .reshape({item.added, shape.heads * shape.width});
}

bool ByKernel(const Tensor& qkv_TE, const CachedItem& item) {
  return item.added == 1 && item.length > 0 && OnKernels(qkv_TE);
}

// Adds what the kernel needs of the token in row `row` to `tokens`.
template <class Real>
void AddToken(const Tensor& qkv_TE, int64_t row, const CachedItem& item,
              const AttentionShape& shape, const Tensor& out_TO,
              std::vector<AttentionDecodeArgs<Real>>& tokens) {
  const int64_t seen = item.length + 1;
  tokens.push_back({.query = In<Real>(qkv_TE) + row * shape.packed_width(),
                    .keys_PKH = In<Real>(item.cache->keys_PKH),
                    .values_PKH = In<Real>(item.cache->values_PKH),
                    .first = shape.window == 0 ? 0 : std::max<int64_t>(0, seen - shape.window),
                    .seen = seen,
                    .heads = shape.heads,
                    .kv_heads = shape.kv_heads,
                    .width = shape.width,
                    .scale = static_cast<float>(shape.score_scale()),
                    .softcap = static_cast<float>(shape.softcap),
                    .out = Out<Real>(out_TO) + row * shape.heads * shape.width});
}

void ContinueByKernel(const Tensor& qkv_TE, const std::vector<CachedItem>& items,
                      const AttentionShape& shape, const Tensor& out_TO) {
  WithReal(qkv_TE, [&]<class Real>(RealTag<Real>) {
    std::vector<AttentionDecodeArgs<Real>> tokens;
    int64_t row = 0;
    for (const CachedItem& item : items) {
      if (ByKernel(qkv_TE, item)) AddToken(qkv_TE, row, item, shape, out_TO, tokens);
      row += item.added;
    }
    AttentionDecodeCpu<Real>(tokens);
  });
}

// Items that begin, packed.
Tensor Begin(const Tensor& qkv_TE, const std::vector<CachedItem>& items,
             const AttentionShape& shape) {
  std::vector<int32_t> cu_seqlens = {0};
  for (const CachedItem& item : items) {
    cu_seqlens.push_back(cu_seqlens.back() + static_cast<int32_t>(item.added));
  }
  AttentionSaved unused;
  return AttentionForward(qkv_TE, cu_seqlens, shape, unused);
}

}  // namespace

Tensor AttentionDecode(const Tensor& qkv_TE, const std::vector<CachedItem>& items,
                       const AttentionShape& shape) {
  bool all_begin = true;
  int64_t first = 0;
  for (const CachedItem& item : items) {
    all_begin = all_begin && item.length == 0;
    Append(qkv_TE.narrow(0, first, item.added), item, shape);
    first += item.added;
  }
  if (all_begin) return Begin(qkv_TE, items, shape);
  Tensor out_TO = at::empty({qkv_TE.size(0), shape.heads * shape.width}, qkv_TE.options());
  if (OnKernels(qkv_TE)) ContinueByKernel(qkv_TE, items, shape, out_TO);
  first = 0;
  for (const CachedItem& item : items) {
    const Tensor new_TE = qkv_TE.narrow(0, first, item.added);
    const Tensor out_item_TO = out_TO.narrow(0, first, item.added);
    first += item.added;
    if (ByKernel(qkv_TE, item)) continue;
    out_item_TO.copy_(item.length == 0 ? Begin(new_TE, {item}, shape)
                                       : Continue(new_TE, item, shape));
  }
  return out_TO;
}

}  // namespace trainyard::worker

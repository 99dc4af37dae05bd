// Batches that are small enough to check.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/common/model/tiny_models.h"
#include "worker/data/batch.h"

namespace trainyard::worker {

using Item = std::vector<int32_t>;

// Every token's target is the next one of its item; the last is not trained.
inline Batch Pack(const std::vector<Item>& items) {
  Batch batch;
  batch.cu_seqlens.push_back(0);
  for (const Item& item : items) {
    for (size_t i = 0; i < item.size(); ++i) {
      batch.token_ids_T.push_back(item[i]);
      batch.target_ids_T.push_back(i + 1 < item.size() ? item[i + 1] : kNoTarget);
      batch.position_ids_T.push_back(static_cast<int32_t>(i));
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
  }
  return batch;
}

// `length` ids that look like noise, the same for the same `salt`.
inline Item NoiseItem(int64_t length, int64_t vocab, uint32_t salt) {
  Item item;
  uint32_t state = salt * 2654435761U + 12345U;
  for (int64_t i = 0; i < length; ++i) {
    state = state * 1664525U + 1013904223U;
    item.push_back(static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(vocab)));
  }
  return item;
}

}  // namespace trainyard::worker

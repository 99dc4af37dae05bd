// The tokens one rank sends through the model at once.
#pragma once

#include <cstdint>
#include <vector>

namespace trainyard::worker {

// Items (documents, or pieces of them) packed one after the other; attention never crosses an item.
// Shape letters: T tokens of the micro-batch, S items.
struct Batch {
  std::vector<int32_t> token_ids_T;
  std::vector<int32_t> target_ids_T;  // the token to predict at each place; kNoTarget: not trained
  std::vector<int32_t> position_ids_T;  // place within the item, from 0
  std::vector<int32_t> cu_seqlens;      // [S + 1] first token of each item, then T

  int64_t tokens() const { return static_cast<int64_t>(token_ids_T.size()); }
  // Places that are trained.
  int64_t targets() const;
  // Adds the item of `other` that holds its token `place`, as it is.
  void AppendItem(const Batch& other, int64_t place);
};

constexpr int32_t kNoTarget = -1;

}  // namespace trainyard::worker

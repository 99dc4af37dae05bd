// A job file before it is understood: the tree that YAML and JSON are both turned into, with the
// place of every key for messages. Depth and size are bounded where the tree is built.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace trainyard {

// Line and column count from 1; line 0: the input has no places (JSON, --set).
struct Position {
  int line = 0;
  int column = 0;
};

struct InputNode {
  enum class Kind { kNothing, kScalar, kList, kMap };
  struct Entry {
    std::string key;
    Position at;
    std::shared_ptr<const InputNode> value;
  };

  Kind kind = Kind::kNothing;
  Position at;
  std::string scalar;   // the text as written
  bool quoted = false;  // a scalar that can only be text
  std::vector<std::shared_ptr<const InputNode>> items;
  std::vector<Entry> entries;  // as written: may name a key twice
  // Nodes below and including this one, shared ones counted each time (YAML aliases).
  int64_t size = 1;
};

inline constexpr int kMaxInputDepth = 24;
inline constexpr int64_t kMaxInputNodes = 200'000;
inline constexpr int64_t kMaxInputBytes = 1 << 20;

}  // namespace trainyard

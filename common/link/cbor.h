// CBOR (RFC 8949) from outside, checked before nlohmann's recursive reader sees it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard::link {

struct CborLimits {
  int depth = 16;
  int64_t items = 2'000'000;   // values, keys included
  int64_t map_entries = 4096;  // of one map
};

// One definite-length CBOR value without tags that fills `bytes`. InvalidArgument names the rule
// and the byte.
StatusOr<nlohmann::ordered_json> ParseCbor(std::string_view bytes, const CborLimits& limits = {});

std::string ToCbor(const nlohmann::ordered_json& value);

}  // namespace trainyard::link

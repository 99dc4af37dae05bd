// Reading config.json, key by key: a missing or null one leaves the value as it is, one of another
// type is InvalidArgument naming it.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard {

inline bool IsSet(const nlohmann::json& config, std::string_view key) {
  const auto found = config.find(key);
  return found != config.end() && !found->is_null();
}

template <class Int>
Status ReadInt(const nlohmann::json& config, const std::string& key, Int& value) {
  if (!IsSet(config, key)) return OkStatus();
  const nlohmann::json& field = config.at(key);
  if (!field.is_number_integer() ||
      (field.is_number_unsigned() && field.get<uint64_t>() > uint64_t{1} << 31)) {
    return InvalidArgument("{} must be a whole number below 2^31, got {}", key, field.dump());
  }
  const auto number = field.get<int64_t>();
  if (number < std::numeric_limits<int32_t>::min() ||
      number > std::numeric_limits<int32_t>::max()) {
    return InvalidArgument("{} must be a whole number below 2^31, got {}", key, number);
  }
  value = static_cast<Int>(number);
  return OkStatus();
}

inline Status ReadNumber(const nlohmann::json& config, const std::string& key, double& value) {
  if (!IsSet(config, key)) return OkStatus();
  if (!config.at(key).is_number()) {
    return InvalidArgument("{} must be a number, got {}", key, config.at(key).dump());
  }
  value = config.at(key).get<double>();
  return OkStatus();
}

inline Status ReadBool(const nlohmann::json& config, const std::string& key, bool& value) {
  if (!IsSet(config, key)) return OkStatus();
  if (!config.at(key).is_boolean()) {
    return InvalidArgument("{} must be true or false, got {}", key, config.at(key).dump());
  }
  value = config.at(key).get<bool>();
  return OkStatus();
}

// The one value that is supported, if there is any.
inline Status RequireValue(const nlohmann::json& config, const std::string& key,
                           const nlohmann::json& wanted) {
  if (!IsSet(config, key) || config.at(key) == wanted) return OkStatus();
  return InvalidArgument("{} = {} is not supported; only {} is", key, config.at(key).dump(),
                         wanted.dump());
}

}  // namespace trainyard

// One description of a struct's fields serves writing and reading:
//
//   template <class Archive> void Fields(Archive& a, Ack& m) {
//     a("channel", m.channel);
//     a("sequence", m.sequence);
//   }
//
// Writer fills a JSON object, Reader checks one: missing, mistyped, out of range or too long fields
// are the first error, with the field's path. Optionals may be missing or null; unknown fields are
// ignored. Names of enumerators come from Names(Enum): a span of name and value.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/files.h"
#include "common/ids.h"
#include "common/status.h"

namespace trainyard::link {

template <class Enum>
using EnumName = std::pair<std::string_view, Enum>;

inline constexpr size_t kMaxTextBytes = 64 << 10;
inline constexpr size_t kMaxListEntries = 200'000;

template <class Enum>
std::string_view NameOfEnum(Enum value) {
  for (const auto& [name, candidate] : Names(Enum{})) {
    if (candidate == value) return name;
  }
  return "?";
}

// `text` with what CBOR and JSON do not allow in a text replaced, and cut to kMaxTextBytes: an
// error message may quote anything.
inline std::string CleanText(std::string_view text) {
  std::string clean(text.substr(0, kMaxTextBytes));
  for (size_t bad; (bad = FindInvalidUtf8(clean)) != std::string::npos;) clean[bad] = '?';
  return clean;
}

class Writer {
 public:
  template <class T>
  void operator()(const char* name, T& value) {
    Put(json_[name], value);
  }
  // A sub-object that has its own JSON form, e.g. a job spec.
  void Raw(const char* name, nlohmann::ordered_json value) { json_[name] = std::move(value); }
  nlohmann::ordered_json Take() { return std::move(json_); }

 private:
  using Json = nlohmann::ordered_json;

  template <class T>
  static void Put(Json& slot, T& value) {
    if constexpr (std::is_enum_v<T>) {
      slot = NameOfEnum(value);
    } else if constexpr (std::is_arithmetic_v<T>) {
      slot = value;
    } else if constexpr (std::is_same_v<T, std::string>) {
      slot = CleanText(value);
    } else {
      Writer inner;
      Fields(inner, value);
      slot = inner.Take();
    }
  }
  template <class Tag>
  static void Put(Json& slot, Id<Tag>& id) {
    slot = CleanText(id.value);
  }
  template <class T>
  static void Put(Json& slot, std::optional<T>& value) {
    if (value.has_value()) Put(slot, *value);
  }
  template <class T>
  static void Put(Json& slot, std::vector<T>& values) {
    slot = Json::array();
    for (T& value : values) Put(slot.emplace_back(), value);
  }
  template <class Enum>
  static void Put(Json& slot, std::map<Enum, uint64_t>& values) {
    slot = Json::object();
    for (const auto& [key, value] : values) slot[std::string(NameOfEnum(key))] = value;
  }

  Json json_ = Json::object();
};

class Reader {
 public:
  Reader(const nlohmann::ordered_json& json, std::string path, Status* first_error)
      : json_(json), path_(std::move(path)), error_(*first_error) {
    if (!json.is_object()) Wrong(path_, "wants a map");
  }

  template <class T>
  void operator()(const char* name, T& value) {
    if (!error_.ok()) return;
    const auto found = json_.find(name);
    const std::string path = path_ + "." + name;
    if (found == json_.end()) {
      if (!IsOptional(&value)) Wrong(path, "missing");
      return;
    }
    Get(*found, path, value);
  }
  // The JSON of a field, or null with an error.
  const nlohmann::ordered_json* Raw(const char* name) {
    if (!error_.ok()) return nullptr;
    const auto found = json_.find(name);
    if (found != json_.end()) return &*found;
    Wrong(path_ + "." + name, "missing");
    return nullptr;
  }
  void Fail(const char* name, std::string_view why) { Wrong(path_ + "." + name, why); }

 private:
  using Json = nlohmann::ordered_json;

  template <class T>
  static constexpr bool IsOptional(const T*) {
    return false;
  }
  template <class T>
  static constexpr bool IsOptional(const std::optional<T>*) {
    return true;
  }

  void Wrong(const std::string& path, std::string_view why) {
    if (error_.ok()) error_ = WithField(InvalidArgument("{}: {}", path, why), path);
  }

  template <class T>
  void Get(const Json& json, const std::string& path, T& value) {
    if constexpr (std::is_enum_v<T>) {
      GetEnum(json, path, value);
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) return Wrong(path, "wants true or false");
      value = json.get<bool>();
    } else if constexpr (std::is_integral_v<T>) {
      GetInteger(json, path, value);
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!json.is_number()) return Wrong(path, "wants a number");
      value = json.get<T>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      GetText(json, path, value);
    } else {
      Reader inner(json, path, &error_);
      if (error_.ok()) Fields(inner, value);
    }
  }
  template <class T>
  void GetInteger(const Json& json, const std::string& path, T& value) {
    if (!json.is_number_integer()) return Wrong(path, "wants an integer");
    const bool negative = !json.is_number_unsigned() && json.get<int64_t>() < 0;
    const bool fits =
        negative ? std::is_signed_v<T> &&
                       json.get<int64_t>() >= static_cast<int64_t>(std::numeric_limits<T>::min())
                 : json.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<T>::max());
    if (!fits) return Wrong(path, "out of range");
    value = json.get<T>();
  }
  void GetText(const Json& json, const std::string& path, std::string& value) {
    if (!json.is_string()) return Wrong(path, "wants a text");
    value = json.get<std::string>();
    if (value.size() > kMaxTextBytes) return Wrong(path, "too long");
    if (FindInvalidUtf8(value) != std::string::npos) Wrong(path, "not valid UTF-8");
  }
  template <class Enum>
  void GetEnum(const Json& json, const std::string& path, Enum& value) {
    const std::string name = json.is_string() ? json.get<std::string>() : "";
    std::string known;
    for (const auto& [candidate, meaning] : Names(Enum{})) {
      if (candidate == name) {
        value = meaning;
        return;
      }
      known += fmt::format("{}{}", known.empty() ? "" : " | ", candidate);
    }
    Wrong(path, "wants one of " + known);
  }
  template <class Tag>
  void Get(const Json& json, const std::string& path, Id<Tag>& id) {
    GetText(json, path, id.value);
  }
  template <class T>
  void Get(const Json& json, const std::string& path, std::optional<T>& value) {
    if (json.is_null()) return;
    Get(json, path, value.emplace());
  }
  template <class T>
  void Get(const Json& json, const std::string& path, std::vector<T>& values) {
    if (!json.is_array()) return Wrong(path, "wants a list");
    if (json.size() > kMaxListEntries) return Wrong(path, "too many entries");
    values.resize(json.size());
    for (size_t i = 0; i < values.size() && error_.ok(); ++i) {
      Get(json[i], fmt::format("{}[{}]", path, i), values[i]);
    }
  }
  template <class Enum>
  void Get(const Json& json, const std::string& path, std::map<Enum, uint64_t>& values) {
    if (!json.is_object()) return Wrong(path, "wants a map");
    for (const auto& [name, entry] : json.items()) {
      for (const auto& [candidate, meaning] : Names(Enum{})) {
        if (candidate == name) GetInteger(entry, path + "." + name, values[meaning]);
      }
    }
  }

  const Json& json_;
  const std::string path_;
  Status& error_;
};

}  // namespace trainyard::link

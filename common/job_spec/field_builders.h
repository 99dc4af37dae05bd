// Rows of the field table from pointers to members: the type of the member is the type of the
// field.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/job_spec/fields.h"

namespace trainyard::field_table {

template <class M>
struct MemberOf;
template <class G, class T>
struct MemberOf<T G::*> {
  using Group = G;
  using Type = T;
};

template <class T>
constexpr FieldType LeafType() {
  if constexpr (std::is_same_v<T, int64_t>) return FieldType::kInteger;
  if constexpr (std::is_same_v<T, double>) return FieldType::kNumber;
  if constexpr (std::is_same_v<T, bool>) return FieldType::kFlag;
  if constexpr (std::is_same_v<T, std::string>) return FieldType::kText;
  if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) return FieldType::kTextMap;
}

// A field that holds a value.
template <auto kMember>
Field Value(FieldText text) {
  using M = MemberOf<decltype(kMember)>;
  Field field{.text = std::move(text), .type = LeafType<typename M::Type>(), .path = ""};
  field.leaf = [](void* group) -> Leaf {
    return &(static_cast<typename M::Group*>(group)->*kMember);
  };
  return field;
}

// A field that holds fields.
template <auto kMember>
Field Group(FieldText text, std::vector<Field> children) {
  using G = typename MemberOf<decltype(kMember)>::Group;
  Field field{.text = std::move(text), .path = "", .children = std::move(children)};
  field.count = [](const void*) -> int64_t { return 1; };
  field.element = [](void* group, int64_t) -> void* { return &(static_cast<G*>(group)->*kMember); };
  field.resize = [](void*, int64_t) {};
  return field;
}

// A std::optional of fields.
template <auto kMember>
Field OptionalGroup(FieldText text, std::vector<Field> children) {
  using G = typename MemberOf<decltype(kMember)>::Group;
  Field field{.text = std::move(text),
              .type = FieldType::kOptionalGroup,
              .path = "",
              .children = std::move(children)};
  field.count = [](const void* group) -> int64_t {
    return (static_cast<const G*>(group)->*kMember).has_value() ? 1 : 0;
  };
  field.element = [](void* group, int64_t) -> void* {
    return &*(static_cast<G*>(group)->*kMember);
  };
  field.resize = [](void* group, int64_t n) {
    auto& member = static_cast<G*>(group)->*kMember;
    if (n == 0) member.reset();
    if (n == 1 && !member.has_value()) member.emplace();
  };
  return field;
}

// A std::vector of fields.
template <auto kMember>
Field GroupList(FieldText text, std::vector<Field> children) {
  using G = typename MemberOf<decltype(kMember)>::Group;
  Field field{.text = std::move(text),
              .type = FieldType::kGroupList,
              .path = "",
              .children = std::move(children)};
  field.count = [](const void* group) -> int64_t {
    return static_cast<int64_t>((static_cast<const G*>(group)->*kMember).size());
  };
  field.element = [](void* group, int64_t i) -> void* {
    return &(static_cast<G*>(group)->*kMember)[static_cast<size_t>(i)];
  };
  field.resize = [](void* group, int64_t n) {
    (static_cast<G*>(group)->*kMember).resize(static_cast<size_t>(n));
  };
  return field;
}

}  // namespace trainyard::field_table

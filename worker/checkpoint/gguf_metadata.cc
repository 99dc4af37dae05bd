#include "worker/checkpoint/gguf_header.h"

namespace trainyard::worker {
namespace {

Status WrongKind(std::string_view key, std::string_view wanted) {
  return InvalidArgument("the key {:?} is not {}", key, wanted);
}

// The items of a list of that kind.
template <class Item>
const std::vector<Item>* ItemsOf(const GgufValue& value) {
  const GgufList* list = std::get_if<GgufList>(&value.value);
  return list == nullptr ? nullptr : std::get_if<std::vector<Item>>(&list->items);
}

StatusOr<const GgufValue*> Require(const GgufMetadata& metadata, std::string_view key) {
  const GgufValue* value = metadata.Find(key);
  if (value == nullptr) return NotFound("there is no key {:?}", key);
  return value;
}

}  // namespace

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto found = values.find(key);
  return found == values.end() ? nullptr : &found->second;
}

StatusOr<int64_t> GgufMetadata::Integer(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* number = std::get_if<int64_t>(&value->value)) return *number;
  const auto* number = std::get_if<uint64_t>(&value->value);
  if (number == nullptr || *number > uint64_t{INT64_MAX})
    return WrongKind(key, "a whole number below 2^63");
  return static_cast<int64_t>(*number);
}

StatusOr<double> GgufMetadata::Real(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* number = std::get_if<double>(&value->value)) return *number;
  return WrongKind(key, "a float");
}

StatusOr<bool> GgufMetadata::Bool(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* flag = std::get_if<bool>(&value->value)) return *flag;
  return WrongKind(key, "a bool");
}

StatusOr<std::string> GgufMetadata::Text(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* text = std::get_if<std::string>(&value->value)) return *text;
  return WrongKind(key, "a string");
}

StatusOr<std::vector<std::string>> GgufMetadata::Texts(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* texts = ItemsOf<std::string>(*value)) return *texts;
  return WrongKind(key, "a list of strings");
}

StatusOr<std::vector<int64_t>> GgufMetadata::Integers(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* numbers = ItemsOf<int64_t>(*value)) return *numbers;
  const auto* numbers = ItemsOf<uint64_t>(*value);
  if (numbers == nullptr) return WrongKind(key, "a list of whole numbers");
  std::vector<int64_t> signed_numbers;
  signed_numbers.reserve(numbers->size());
  for (const uint64_t number : *numbers) {
    if (number > uint64_t{INT64_MAX}) return WrongKind(key, "a list of numbers below 2^63");
    signed_numbers.push_back(static_cast<int64_t>(number));
  }
  return signed_numbers;
}

StatusOr<std::vector<double>> GgufMetadata::Reals(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* numbers = ItemsOf<double>(*value)) return *numbers;
  return WrongKind(key, "a list of floats");
}

}  // namespace trainyard::worker

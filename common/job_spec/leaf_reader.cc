#include "common/job_spec/leaf_reader.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace trainyard {
namespace {

// Long texts are cut in messages.
std::string Quoted(std::string_view text) {
  constexpr size_t kMost = 60;
  std::string cut(text.substr(0, kMost));
  if (text.size() > kMost) cut += "...";
  return nlohmann::json(cut).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string Found(const InputNode& scalar) {
  if (scalar.quoted) return fmt::format("the text {}", Quoted(scalar.scalar));
  if (scalar.scalar.empty()) return "nothing";
  return Quoted(scalar.scalar);
}

std::string_view WithoutPlus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  return plus ? text.substr(1) : text;
}

StatusOr<int64_t> ReadInteger(const InputNode& scalar) {
  const std::string_view text = WithoutPlus(scalar.scalar);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    return InvalidArgument("{} does not fit in 64 bits", Quoted(text));
  }
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument("wants an integer, found {}", Found(scalar));
  }
  return value;
}

StatusOr<double> ReadNumber(const InputNode& scalar) {
  const std::string_view text = WithoutPlus(scalar.scalar);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || !std::isfinite(value)) {
    return InvalidArgument("wants a number, found {}", Found(scalar));
  }
  return value;
}

StatusOr<bool> ReadFlag(const InputNode& scalar) {
  if (scalar.scalar == "true") return true;
  if (scalar.scalar == "false") return false;
  return InvalidArgument("wants true or false, found {}", Found(scalar));
}

// Whether JSON reads `text` as a scalar (a number, true, false, null or a quoted text).
bool IsJsonScalar(const std::string& text) {
  const auto parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return !parsed.is_discarded() && parsed.is_primitive();
}

}  // namespace

Status ReadScalar(const Field& field, const FieldAlias* alias, const InputNode& scalar,
                  bool interchange, const Leaf& leaf) {
  if (const auto* text = std::get_if<std::string*>(&leaf)) {
    std::string value = scalar.scalar;
    const auto translate = [&](const auto& table) {
      for (const auto& [theirs, ours] : table) {
        if (value == theirs) {
          value = ours;
          return;
        }
      }
    };
    if (alias != nullptr) translate(alias->values);
    translate(field.text.value_aliases);
    if (!interchange && !field.text.allowed.empty() && value.empty()) {
      return InvalidArgument("wants one of {}, found nothing",
                             fmt::join(field.text.allowed, " | "));
    }
    **text = std::move(value);
    return interchange ? OkStatus() : CheckLeaf(field, leaf);
  }
  if (scalar.quoted && !interchange) {
    const char* wanted = field.type == FieldType::kInteger  ? "an integer"
                         : field.type == FieldType::kNumber ? "a number"
                                                            : "true or false";
    return InvalidArgument("wants {}, found {}", wanted, Found(scalar));
  }
  if (const auto* integer = std::get_if<int64_t*>(&leaf)) {
    ASSIGN_OR_RETURN(**integer, ReadInteger(scalar));
  }
  if (const auto* number = std::get_if<double*>(&leaf)) {
    ASSIGN_OR_RETURN(**number, ReadNumber(scalar));
  }
  if (const auto* flag = std::get_if<bool*>(&leaf)) {
    ASSIGN_OR_RETURN(**flag, ReadFlag(scalar));
  }
  return interchange ? OkStatus() : CheckLeaf(field, leaf);
}

StatusOr<std::string> ConfigText(const InputNode& scalar, bool interchange) {
  if (scalar.kind == InputNode::Kind::kNothing) return std::string("null");
  if (scalar.kind != InputNode::Kind::kScalar) {
    return InvalidArgument("wants a single value, found a list or map");
  }
  if (scalar.quoted && !interchange && IsJsonScalar(scalar.scalar)) {
    return nlohmann::json(scalar.scalar)
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return scalar.scalar;
}

}  // namespace trainyard

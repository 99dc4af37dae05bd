#include "common/documents/json_documents.h"

#include <nlohmann/json.hpp>

namespace trainyard {
namespace {

using nlohmann::json;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string KeysOf(const json& object) {
  std::string keys;
  for (const auto& [key, value] : object.items()) {
    if (keys.size() > 100) return keys + ", ...";
    keys += (keys.empty() ? "\"" : ", \"") + key + "\"";
  }
  return keys.empty() ? "none" : keys;
}

// The library's words without its own counting of lines, which begins at the object.
std::string Reason(const json::parse_error& error) {
  const std::string text = error.what();
  const size_t column = text.find(", column ");
  const size_t colon = column == std::string::npos ? column : text.find(": ", column);
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

// What JSON calls the value that begins with `c`.
std::string ValueName(char c) {
  if (c == '"') return "a JSON string, not an object";
  if (c == '[') return "a JSON array, not an object";
  if (c == 't' || c == 'f') return "a JSON boolean, not an object";
  if (c == 'n') return "a JSON null, not an object";
  if (c == '-' || (c >= '0' && c <= '9')) return "a JSON number, not an object";
  return "not JSON";
}

}  // namespace

void TextPlace::Advance(std::string_view text) {
  for (const char c : text) {
    if (c == '\n') {
      ++line;
      column = 1;
    } else if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) {
      ++column;
    }
  }
}

std::string PlaceIn(std::string_view file, const TextPlace& place) {
  return fmt::format("{}:{}:{}", file, place.line, place.column);
}

StatusOr<std::string> TextOfObject(std::string_view file, const TextPlace& place,
                                   std::string_view object, std::string_view text_field) {
  json parsed;
  try {
    parsed = json::parse(object);
  } catch (const json::parse_error& error) {
    TextPlace at = place;
    at.Advance(object.substr(0, error.byte == 0 ? 0 : error.byte - 1));
    return InvalidArgument("{}: not JSON ({})", PlaceIn(file, at), Reason(error));
  } catch (const json::exception& error) {
    return InvalidArgument("{}: not JSON ({})", PlaceIn(file, place), error.what());
  }
  if (!parsed.is_object())
    return InvalidArgument("{}: here is a JSON {}, not an object", PlaceIn(file, place),
                           parsed.type_name());
  const auto value = parsed.find(text_field);
  if (value == parsed.end())
    return InvalidArgument(
        "{}: there is no key \"{}\" (keys: {}); set text_field to the one that holds the text",
        PlaceIn(file, place), text_field, KeysOf(parsed));
  if (!value->is_string())
    return InvalidArgument("{}: \"{}\" is a JSON {}, not a string", PlaceIn(file, place),
                           text_field, value->type_name());
  return value->get<std::string>();
}

Status JsonSplitter::Misplaced(char c) const {
  const char* wanted = state_ == State::kAfterObject ? "a comma or the array's end is wanted here"
                       : state_ == State::kDone      ? "the array has ended before"
                       : ValueName(c) == "not JSON"  ? "not JSON"
                                                     : nullptr;
  if (wanted != nullptr)
    return InvalidArgument(
        "{}: {}; a .json file is an array of objects, or objects one after the "
        "other",
        PlaceIn(file_, at_), wanted);
  return InvalidArgument("{}: here is {}: every document is one JSON object", PlaceIn(file_, at_),
                         ValueName(c));
}

Status JsonSplitter::TakeOutside(char c) {
  if (IsSpace(c)) return OkStatus();
  if (c == '[' && state_ == State::kFirst) {
    array_ = true;
    state_ = State::kBetween;
    return OkStatus();
  }
  if (c == '{' && state_ != State::kAfterObject && state_ != State::kDone) {
    state_ = State::kInObject;
    begin_ = at_;
    object_.assign(1, c);
    depth_ = 1;
    return OkStatus();
  }
  if (c == ']' && array_ && (state_ == State::kBetween || state_ == State::kAfterObject)) {
    state_ = State::kDone;
    return OkStatus();
  }
  if (c == ',' && state_ == State::kAfterObject) {
    state_ = State::kWantsObject;
    return OkStatus();
  }
  return Misplaced(c);
}

Status JsonSplitter::TakeInside(char c) {
  object_.push_back(c);
  if (static_cast<int64_t>(object_.size()) > object_bytes_max_) return Unended("is longer than");
  if (in_text_) {
    if (static_cast<unsigned char>(c) < 0x20)
      return InvalidArgument(
          "{}: not JSON (a text holds the control character 0x{:02x}, which is "
          "written \\u{:04x} there)",
          PlaceIn(file_, at_), c, c);
    if (!escaped_ && c == '"') in_text_ = false;
    escaped_ = !escaped_ && c == '\\';
  } else if (c == '"') {
    in_text_ = true;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if (c == '}' || c == ']') {
    --depth_;
  }
  return OkStatus();
}

StatusOr<std::optional<std::string>> JsonSplitter::Next(std::string_view* text) {
  while (!text->empty()) {
    const char c = text->front();
    RETURN_IF_ERROR(state_ == State::kInObject ? TakeInside(c) : TakeOutside(c));
    at_.Advance(text->substr(0, 1));
    text->remove_prefix(1);
    if (state_ != State::kInObject || depth_ > 0) continue;
    state_ = array_ ? State::kAfterObject : State::kBetween;
    return std::optional<std::string>(std::move(object_));
  }
  return std::nullopt;
}

// A brace that is missing makes one object of many: where JSON breaks first is the better place.
Status JsonSplitter::Unended(std::string_view what) const {
  const Status parsed = TextOfObject(file_, begin_, object_, "").status();
  if (MessageOf(parsed).find("unexpected end of input") == std::string::npos &&
      MessageOf(parsed).find("not JSON") != std::string::npos)
    return parsed;
  if (what.empty())
    return InvalidArgument(
        "{}: this object is not closed: the file was cut short, or a brace is "
        "missing",
        PlaceIn(file_, begin_));
  return InvalidArgument("{}: this object {} {} bytes; is this JSON?", PlaceIn(file_, begin_), what,
                         object_bytes_max_);
}

Status JsonSplitter::Finish() const {
  if (state_ == State::kInObject) return Unended("");
  if (array_ && state_ != State::kDone)
    return InvalidArgument("{}: the array is not closed: the file was cut short",
                           PlaceIn(file_, at_));
  return OkStatus();
}

}  // namespace trainyard

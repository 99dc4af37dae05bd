// Documents out of JSON as it comes: an array of objects, or objects one after the other (JSON
// lines, or each over several lines). Memory is bounded by the longest object.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard {

// Lines and columns count from 1, columns in characters.
struct TextPlace {
  int64_t line = 1;
  int64_t column = 1;
  // Goes on over `text`, which may begin or end within a character.
  void Advance(std::string_view text);
};

// "rows.json:3:17".
std::string PlaceIn(std::string_view file, const TextPlace& place);

// The text under `text_field` of an object that begins at `place` of `file`.
// InvalidArgument with the place: no JSON, no object, no such key, no string there.
StatusOr<std::string> TextOfObject(std::string_view file, const TextPlace& place,
                                   std::string_view object, std::string_view text_field);

// Finds where objects end.
class JsonSplitter {
 public:
  // An object is at most `object_bytes_max` long.
  JsonSplitter(std::string_view file, int64_t object_bytes_max)
      : file_(file), object_bytes_max_(object_bytes_max) {}

  // Takes bytes of `text` until an object is whole, and removes them from it; the object, or
  // nothing when all bytes are taken. InvalidArgument: something that is no object stands there.
  StatusOr<std::optional<std::string>> Next(std::string_view* text);
  // After the last byte. InvalidArgument: an object or the array is not closed.
  Status Finish() const;

  // Where the object begins that Next returned.
  const TextPlace& begin() const { return begin_; }

 private:
  enum class State { kFirst, kBetween, kWantsObject, kInObject, kAfterObject, kDone };
  Status TakeOutside(char c);
  Status TakeInside(char c);
  Status Misplaced(char c) const;
  Status Unended(std::string_view what) const;

  const std::string_view file_;
  const int64_t object_bytes_max_;
  State state_ = State::kFirst;
  bool array_ = false;
  bool in_text_ = false, escaped_ = false;
  int64_t depth_ = 0;
  TextPlace at_, begin_;
  std::string object_;
};

}  // namespace trainyard

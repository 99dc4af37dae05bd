// How this folder's .cc files call the crate: arrays that free themselves, codes that become
// Status.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/text/text_abi.h"

namespace trainyard::worker {

inline void FreeArray(TyBytes bytes) { ty_bytes_free(bytes); }
inline void FreeArray(TyIds ids) { ty_ids_free(ids); }
inline void FreeArray(TySizes sizes) { ty_sizes_free(sizes); }

// An array the crate gave out.
template <class Array>
struct OwnedArray {
  Array array = {nullptr, 0};
  OwnedArray() = default;
  OwnedArray(const OwnedArray&) = delete;
  OwnedArray& operator=(const OwnedArray&) = delete;
  ~OwnedArray() { FreeArray(array); }
  auto begin() const { return array.data; }
  auto end() const { return array.data + array.size; }
  std::string text() const {
    return std::string(reinterpret_cast<const char*>(array.data), array.size);
  }
};

inline TySlice SliceOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline std::vector<TySlice> SlicesOf(std::span<const std::string_view> texts) {
  std::vector<TySlice> slices;
  slices.reserve(texts.size());
  for (const std::string_view text : texts) slices.push_back(SliceOf(text));
  return slices;
}

// The crate's error, named after the thing it is about.
inline Status StatusOfCode(TyCode code, std::string_view about, const OwnedArray<TyBytes>& error) {
  switch (code) {
    case TY_OK:
      return OkStatus();
    case TY_INVALID:
      return InvalidArgument("{}: {}", about, error.text());
    case TY_LIMIT:
      return ResourceExhausted("{}: {}", about, error.text());
    case TY_PRECONDITION:
      return FailedPrecondition("{}: {}", about, error.text());
    default:
      return Internal("{}: {}", about, error.text());
  }
}

// Calls a function of the crate whose last argument is the error.
template <class Function, class... Args>
Status CallCrate(std::string_view about, Function function, Args... args) {
  OwnedArray<TyBytes> error;
  const TyCode code = function(args..., &error.array);
  return StatusOfCode(code, about, error);
}

}  // namespace trainyard::worker

// What a file is that is no text, told by its first bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace trainyard {

struct FileKind {
  std::string_view name;    // "a Parquet file"
  std::string_view advice;  // what to do with it
};

// Enough of a file's beginning to tell.
constexpr size_t kKindBytes = 512;

// The kind of file that begins so; null for what may be text. A beginning of letters ("PAR1",
// "BZh") counts only where bytes that no text has stand in the first kKindBytes.
const FileKind* KindThatIsNoText(std::string_view beginning);

}  // namespace trainyard

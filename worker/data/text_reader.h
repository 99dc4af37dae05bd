// Documents out of files: plain text or JSONL, as they are or gzip-compressed (told by the first
// two bytes). Files are streamed; memory is bounded by a block, for JSONL by the longest line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard::worker {

enum class TextFormat {
  kText,   // a file is one document
  kJsonl,  // a line is one document: a JSON object, its text under one key
};

// `format` as in a job file: text, jsonl, or auto, which goes by the file's name (.jsonl and
// .ndjson, also with .gz behind, are JSONL; anything else is text). InvalidArgument for another
// word.
StatusOr<TextFormat> FormatOf(std::string_view format, std::string_view file_name);

struct TextFile {
  std::filesystem::path path;  // where its bytes are
  std::string name;            // what messages call it, e.g. "hamlet.txt"
};

// What a reader does with what it finds. An error stops the reading and is returned.
struct DocumentSink {
  std::function<Status(std::string_view text)> text;  // the next part of the document, valid UTF-8
  std::function<Status()> end;                        // of the document
};

constexpr int64_t kLineBytesMax = int64_t{64} << 20;  // of a JSONL file

// Errors name the file and the place:
//   NotFound          no such file
//   InvalidArgument   no text in it; bytes that are not UTF-8 (with their offset, counted in the
//                     uncompressed text); a JSONL line that is no object, lacks the key or holds no
//                     string there (file:line); compressed data that is damaged or cut short
// A byte order mark at the beginning is dropped. Blank lines of JSONL and lines whose text is empty
// are passed over.
Status ReadDocuments(const TextFile& file, TextFormat format, std::string_view text_field,
                     const DocumentSink& sink);

}  // namespace trainyard::worker

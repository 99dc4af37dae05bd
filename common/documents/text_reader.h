// Documents out of files: plain text, JSON lines or JSON, as they are or gzip-compressed (told by
// the first two bytes). Files are streamed; memory is bounded by a block, for JSON by the longest
// line or object.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard {

enum class TextFormat {
  kText,   // a file is one document
  kJsonl,  // a line is one document: a JSON object, its text under one key; an array is read as
           // kJson
  kJson,   // an array of such objects, or objects one after the other
};

// `format` as in a job file: text, jsonl, or auto, which goes by the file's name in any case
// (.jsonl and .ndjson are JSON lines, .json is JSON, also with .gz behind; anything else is text).
// InvalidArgument for another word.
StatusOr<TextFormat> FormatOf(std::string_view format, std::string_view file_name);

// Whether a file of this name is taken when a folder is named: .txt, .text, .md, .jsonl, .ndjson,
// .json in any case, also with .gz behind.
bool NamesText(std::string_view file_name);

struct TextFile {
  std::filesystem::path path;  // where its bytes are
  std::string name;            // what messages call it, e.g. "hamlet.txt"
};

// What a reader does with what it finds. An error stops the reading and is returned.
struct DocumentSink {
  std::function<Status(std::string_view text)> text;  // the next part of the document, valid UTF-8
  std::function<Status()> end;                        // of the document
};

constexpr int64_t kLineBytesMax = int64_t{64} << 20;  // of JSON lines; of an object of JSON

// Errors name the file and the place, as file:line:column:
//   NotFound          no such file
//   InvalidArgument   no text in it; a file that is no text, called what it is; bytes that are not
//                     UTF-8 (also with their offset, counted in the uncompressed text); JSON that
//                     is none, is no object, lacks the key or holds no string there; compressed
//                     data that is damaged or cut short
// A byte order mark at the beginning is dropped. Blank lines and objects whose text is empty are
// passed over.
Status ReadDocuments(const TextFile& file, TextFormat format, std::string_view text_field,
                     const DocumentSink& sink);

}  // namespace trainyard

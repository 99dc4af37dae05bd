#include "common/documents/file_kind.h"

#include <algorithm>

#include "common/files.h"

namespace trainyard {
namespace {

using std::string_view_literals::operator""sv;

struct Signature {
  size_t offset;
  std::string_view bytes;
  bool letters;  // a text might begin so
  FileKind kind;
};

constexpr std::string_view kUnpack = "unpack it and name what was in it";
constexpr std::string_view kRows =
    "write its rows as JSON lines, for example with the Python package datasets: "
    "Dataset.to_json(\"rows.jsonl\")";

// Sources: each format's own specification; /usr/share/misc/magic agrees.
constexpr Signature kSignatures[] = {
    {0,
     "PAR1"sv,
     true,
     {"a Parquet file",
      "Parquet is not read yet: write its rows as JSON lines, for example with pandas: "
      "read_parquet(\"rows.parquet\").to_json(\"rows.jsonl\", orient=\"records\", lines=True)"}},
    {0,
     "\x28\xB5\x2F\xFD"sv,
     false,
     {"compressed with Zstandard",
      "Zstandard is not read yet: unpack it with `zstd -d`, or pack it with gzip instead"}},
    {0, "BZh"sv, true, {"compressed with bzip2", "unpack it with `bunzip2`, or pack it with gzip"}},
    {0,
     "\xFD"
     "7zXZ\0"sv,
     false,
     {"compressed with xz", "unpack it with `unxz`, or pack it with gzip"}},
    {0,
     "\x04\x22\x4D\x18"sv,
     false,
     {"compressed with LZ4", "unpack it with `lz4 -d`, or pack it with gzip"}},
    {0, "7z\xBC\xAF\x27\x1C"sv, false, {"a 7-Zip archive", kUnpack}},
    {0, "Rar!\x1A\x07"sv, false, {"a RAR archive", kUnpack}},
    {257, "ustar"sv, true, {"a tar archive", kUnpack}},
    {0,
     "PK\x03\x04"sv,
     false,
     {"a ZIP archive (also .xlsx, .docx, .epub, .npz and PyTorch's .pt are such)",
      "unpack it and name the texts in it; write a table's rows as JSON lines"}},
    {0, "ARROW1\0\0"sv, false, {"an Arrow file (Feather)", kRows}},
    {0, "FEA1"sv, true, {"a Feather file", kRows}},
    {0,
     "\xFF\xFF\xFF\xFF"sv,
     false,
     {"an Arrow stream, as datasets' save_to_disk writes it", kRows}},
    {0,
     "SQLite format 3\0"sv,
     false,
     {"an SQLite database", "write the rows of its table as JSON lines"}},
    {0, "%PDF-"sv, false, {"a PDF file", "take its text out, for example with pdftotext"}},
    {0,
     "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv,
     false,
     {"an old Office file (.doc, .xls)", "save it as plain text"}},
    {0, "\x80\x02"sv, false, {"a Python pickle", "write its texts as JSON lines"}},
    {0, "\x80\x03"sv, false, {"a Python pickle", "write its texts as JSON lines"}},
    {0, "\x80\x04"sv, false, {"a Python pickle", "write its texts as JSON lines"}},
    {0, "\x80\x05"sv, false, {"a Python pickle", "write its texts as JSON lines"}},
    {0,
     "\x93NUMPY"sv,
     false,
     {"a NumPy array", "token ids are not read: name the texts they were made of"}},
    {0, "\x89HDF\r\n\x1A\n"sv, false, {"an HDF5 file", "write its texts as JSON lines"}},
    {0, "ORC"sv, true, {"an ORC file", kRows}},
    {0, "Obj\x01"sv, false, {"an Avro file", kRows}},
    {0, "GGUF"sv, true, {"a model (GGUF)", "data are texts; a model goes into model.from"}},
    {0, "\x89PNG"sv, false, {"a picture", "data are texts"}},
    {0, "\xFF\xD8\xFF"sv, false, {"a picture", "data are texts"}},
    {0,
     "\x7F"
     "ELF"sv,
     false,
     {"a program", "data are texts"}},
    {0,
     "\xFF\xFE"sv,
     false,
     {"text in UTF-16", "convert it, for example with `iconv -f UTF-16 -t UTF-8`"}},
    {0,
     "\xFE\xFF"sv,
     false,
     {"text in UTF-16", "convert it, for example with `iconv -f UTF-16 -t UTF-8`"}},
};

// The characters that text has none of: control characters but white space and escape.
bool HasBytesOfNoText(std::string_view bytes) {
  const auto odd = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f' && byte != 0x1B) ||
           byte == 0x7F;
  };
  if (std::any_of(bytes.begin(), bytes.end(), odd)) return true;
  const size_t bad = FindInvalidUtf8(bytes);
  return bad != std::string_view::npos && bytes.size() - bad > 3;  // else a character cut short
}

}  // namespace

const FileKind* KindThatIsNoText(std::string_view beginning) {
  const std::string_view first = beginning.substr(0, kKindBytes);
  for (const Signature& signature : kSignatures) {
    if (first.size() < signature.offset + signature.bytes.size()) continue;
    if (first.substr(signature.offset, signature.bytes.size()) != signature.bytes) continue;
    if (!signature.letters || HasBytesOfNoText(first)) return &signature.kind;
  }
  return nullptr;
}

}  // namespace trainyard

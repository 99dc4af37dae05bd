#include "common/documents/text_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "common/documents/file_kind.h"
#include "common/documents/json_documents.h"
#include "common/files.h"
#include "common/lfs_pointer.h"

namespace trainyard {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

struct CloseGz {
  void operator()(gzFile file) const { gzclose_r(file); }
};
using GzFile = std::unique_ptr<gzFile_s, CloseGz>;

StatusOr<GzFile> OpenFile(const TextFile& file) {
  UniqueFd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", file.name));
  struct stat info;
  if (::fstat(fd.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot stat {}", file.name));
  if (S_ISDIR(info.st_mode)) return InvalidArgument("{} is a folder, not a file", file.name);
  // zlib hands plain files through as they are.
  GzFile opened(gzdopen(fd.get(), "rb"));
  if (opened == nullptr) return Internal("zlib cannot open {}", file.name);
  fd.Release();
  gzbuffer(opened.get(), 256 << 10);
  return opened;
}

// The next bytes of the text; empty at its end.
Status ReadBlock(const TextFile& file, gzFile gz, std::string& block) {
  block.resize(kBlockBytes);
  errno = 0;
  const int n = gzread(gz, block.data(), static_cast<unsigned>(block.size()));
  const int read_errno = errno;
  int code = Z_OK;
  const char* what = gzerror(gz, &code);
  if (code == Z_ERRNO) return ErrnoStatus(read_errno, fmt::format("cannot read {}", file.name));
  if (n < 0 || code != Z_OK)
    return InvalidArgument("{}: its compressed data is damaged or cut short ({}); fetch it again",
                           file.name, what);
  block.resize(static_cast<size_t>(n));
  return OkStatus();
}

Status CheckIsText(const TextFile& file, std::string_view beginning) {
  RETURN_IF_ERROR(RefuseLfsPointer(file.name, beginning));
  const FileKind* kind = KindThatIsNoText(beginning);
  if (kind == nullptr) return OkStatus();
  return InvalidArgument("{} is {}: {}", file.name, kind->name, kind->advice);
}

Status NotUtf8(const TextFile& file, TextPlace place, std::string_view text, size_t bad,
               int64_t offset) {
  place.Advance(text.substr(0, bad));
  return InvalidArgument(
      "{}: the byte 0x{:02x} at offset {} is not valid UTF-8; convert the file to UTF-8, for "
      "example with iconv",
      PlaceIn(file.name, place), static_cast<unsigned char>(text[bad]),
      offset + static_cast<int64_t>(bad));
}

// Calls `use` with the file's text, whole characters at a time.
template <class Use>
Status ForEachBlock(const TextFile& file, Use use) {
  ASSIGN_OR_RETURN(const GzFile gz, OpenFile(file));
  std::string block, text;  // text: what is not handed on yet, begins with the cut character if any
  int64_t offset = 0;       // of `text` in the file
  TextPlace place;          // the same
  while (true) {
    RETURN_IF_ERROR(ReadBlock(file, gz.get(), block));
    text.append(block);
    if (offset == 0) {
      RETURN_IF_ERROR(CheckIsText(file, text));
      if (text.starts_with(kByteOrderMark)) {
        text.erase(0, kByteOrderMark.size());
        offset = static_cast<int64_t>(kByteOrderMark.size());
      }
    }
    const size_t bad = FindInvalidUtf8(text);
    const size_t whole = bad == std::string::npos ? text.size() : bad;
    // Up to three bytes at the end may be the beginning of a character.
    if (bad != std::string::npos && (block.empty() || text.size() - bad > 3))
      return NotUtf8(file, place, text, bad, offset);
    if (whole > 0) RETURN_IF_ERROR(use(std::string_view(text).substr(0, whole)));
    place.Advance(std::string_view(text).substr(0, whole));
    text.erase(0, whole);
    offset += static_cast<int64_t>(whole);
    if (block.empty()) return OkStatus();
  }
}

Status NoText(const TextFile& file) {
  return InvalidArgument("{} has no text; leave it out or fill it", file.name);
}

Status ReadText(const TextFile& file, const DocumentSink& sink) {
  bool any = false;
  RETURN_IF_ERROR(ForEachBlock(file, [&](std::string_view text) {
    any = true;
    return sink.text(text);
  }));
  if (!any) return NoText(file);
  return sink.end();
}

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

class JsonlReader {
 public:
  JsonlReader(const TextFile& file, std::string_view text_field, const DocumentSink& sink)
      : file_(file), text_field_(text_field), sink_(sink) {}

  Status Add(std::string_view text) {
    while (!text.empty()) {
      const size_t newline = text.find('\n');
      line_.append(text.substr(0, newline));
      if (static_cast<int64_t>(line_.size()) > kLineBytesMax)
        return InvalidArgument("{}:{}: the line is longer than {} bytes; is this JSONL?",
                               file_.name, line_number_, kLineBytesMax);
      if (newline == std::string_view::npos) return OkStatus();
      RETURN_IF_ERROR(EndLine());
      text.remove_prefix(newline + 1);
    }
    return OkStatus();
  }

  Status Finish() {
    RETURN_IF_ERROR(EndLine());
    return any_ ? OkStatus() : NoText(file_);
  }

 private:
  Status EndLine() {
    const std::string line = std::exchange(line_, "");
    const TextPlace place{.line = line_number_++, .column = 1};
    if (IsBlank(line)) return OkStatus();
    ASSIGN_OR_RETURN(const std::string text, TextOfObject(file_.name, place, line, text_field_));
    if (text.empty()) return OkStatus();
    any_ = true;
    RETURN_IF_ERROR(sink_.text(text));
    return sink_.end();
  }

  const TextFile& file_;
  const std::string_view text_field_;
  const DocumentSink& sink_;
  std::string line_;
  int64_t line_number_ = 1;
  bool any_ = false;
};

class JsonReader {
 public:
  JsonReader(const TextFile& file, std::string_view text_field, const DocumentSink& sink)
      : file_(file), text_field_(text_field), sink_(sink), splitter_(file.name, kLineBytesMax) {}

  Status Add(std::string_view text) {
    while (true) {
      ASSIGN_OR_RETURN(const std::optional<std::string> object, splitter_.Next(&text));
      if (!object) return OkStatus();
      ASSIGN_OR_RETURN(const std::string document,
                       TextOfObject(file_.name, splitter_.begin(), *object, text_field_));
      if (document.empty()) continue;
      any_ = true;
      RETURN_IF_ERROR(sink_.text(document));
      RETURN_IF_ERROR(sink_.end());
    }
  }

  Status Finish() {
    RETURN_IF_ERROR(splitter_.Finish());
    return any_ ? OkStatus() : NoText(file_);
  }

 private:
  const TextFile& file_;
  const std::string_view text_field_;
  const DocumentSink& sink_;
  JsonSplitter splitter_;
  bool any_ = false;
};

// JSON lines, unless the first thing in them is an array.
class JsonlOrArrayReader {
 public:
  JsonlOrArrayReader(const TextFile& file, std::string_view text_field, const DocumentSink& sink)
      : lines_(file, text_field, sink), array_(file, text_field, sink) {}

  Status Add(std::string_view text) {
    if (!is_array_) {
      const size_t first = text.find_first_not_of(" \t\r\n");
      if (first != std::string_view::npos) is_array_ = text[first] == '[';
    }
    return is_array_.value_or(false) ? array_.Add(text) : lines_.Add(text);
  }
  Status Finish() { return is_array_.value_or(false) ? array_.Finish() : lines_.Finish(); }

 private:
  JsonlReader lines_;
  JsonReader array_;
  std::optional<bool> is_array_;
};

template <class Reader>
Status ReadWith(Reader reader, const TextFile& file) {
  RETURN_IF_ERROR(ForEachBlock(file, [&](std::string_view text) { return reader.Add(text); }));
  return reader.Finish();
}

constexpr std::array<std::string_view, 2> kJsonlEndings = {".jsonl", ".ndjson"};
constexpr std::array<std::string_view, 3> kTextEndings = {".txt", ".text", ".md"};
constexpr std::string_view kJsonEnding = ".json";

// In lower case, without .gz.
std::string PlainName(std::string_view file_name) {
  std::string name(file_name);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  return name;
}

template <class Endings>
bool EndsWithAny(const std::string& name, const Endings& endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

}  // namespace

StatusOr<TextFormat> FormatOf(std::string_view format, std::string_view file_name) {
  if (format == "text") return TextFormat::kText;
  if (format == "jsonl") return TextFormat::kJsonl;
  if (format != "auto")
    return InvalidArgument("data format \"{}\" is not known; it is auto, text or jsonl", format);
  const std::string name = PlainName(file_name);
  if (EndsWithAny(name, kJsonlEndings)) return TextFormat::kJsonl;
  return name.ends_with(kJsonEnding) ? TextFormat::kJson : TextFormat::kText;
}

bool NamesText(std::string_view file_name) {
  const std::string name = PlainName(file_name);
  return EndsWithAny(name, kJsonlEndings) || EndsWithAny(name, kTextEndings) ||
         name.ends_with(kJsonEnding);
}

Status ReadDocuments(const TextFile& file, TextFormat format, std::string_view text_field,
                     const DocumentSink& sink) {
  switch (format) {
    case TextFormat::kText:
      return ReadText(file, sink);
    case TextFormat::kJsonl:
      return ReadWith(JsonlOrArrayReader(file, text_field, sink), file);
    case TextFormat::kJson:
      return ReadWith(JsonReader(file, text_field, sink), file);
  }
  return Internal("a text format that is none");
}

}  // namespace trainyard

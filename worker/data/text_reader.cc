#include "worker/data/text_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/files.h"
#include "common/lfs_pointer.h"

namespace trainyard::worker {
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
  if (S_ISDIR(info.st_mode))
    return InvalidArgument("{} is a folder; name its files, for example {}/*.txt", file.name,
                           file.name);
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

// Calls `use` with the file's text, whole characters at a time.
template <class Use>
Status ForEachBlock(const TextFile& file, Use use) {
  ASSIGN_OR_RETURN(const GzFile gz, OpenFile(file));
  std::string block, text;  // text: what is not handed on yet, begins with the cut character if any
  int64_t offset = 0;       // of `text` in the file
  while (true) {
    RETURN_IF_ERROR(ReadBlock(file, gz.get(), block));
    text.append(block);
    if (offset == 0) RETURN_IF_ERROR(RefuseLfsPointer(file.name, text));
    if (offset == 0 && (block.empty() || text.size() >= kByteOrderMark.size()) &&
        text.starts_with(kByteOrderMark)) {
      text.erase(0, kByteOrderMark.size());
      offset = static_cast<int64_t>(kByteOrderMark.size());
    }
    const size_t bad = FindInvalidUtf8(text);
    const size_t whole = bad == std::string::npos ? text.size() : bad;
    // Up to three bytes at the end may be the beginning of a character.
    if (bad != std::string::npos && (block.empty() || text.size() - bad > 3))
      return InvalidArgument(
          "{}: the byte at offset {} is not valid UTF-8; convert the file to UTF-8, for example "
          "with "
          "iconv",
          file.name, offset + static_cast<int64_t>(bad));
    if (whole > 0) RETURN_IF_ERROR(use(std::string_view(text).substr(0, whole)));
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

std::string KeysOf(const nlohmann::json& object) {
  std::string keys;
  for (const auto& [key, value] : object.items()) {
    if (keys.size() > 100) return keys + ", ...";
    keys += (keys.empty() ? "\"" : ", \"") + key + "\"";
  }
  return keys.empty() ? "none" : keys;
}

// The text of one line; nothing for a blank line.
StatusOr<std::optional<std::string>> TextOfLine(const std::string& where, std::string_view line,
                                                std::string_view text_field) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return std::nullopt;
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& error) {
    return InvalidArgument("{}: not JSON ({}); every line must be one JSON object", where,
                           error.what());
  }
  if (!object.is_object())
    return InvalidArgument("{}: the line is a JSON {}, not an object", where, object.type_name());
  const auto value = object.find(text_field);
  if (value == object.end())
    return InvalidArgument(
        "{}: there is no key \"{}\" (keys: {}); set text_field to the one that "
        "holds the text",
        where, text_field, KeysOf(object));
  if (!value->is_string())
    return InvalidArgument("{}: \"{}\" is a JSON {}, not a string", where, text_field,
                           value->type_name());
  return std::optional<std::string>(value->get<std::string>());
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
    ASSIGN_OR_RETURN(
        const std::optional<std::string> text,
        TextOfLine(fmt::format("{}:{}", file_.name, line_number_), line_, text_field_));
    ++line_number_;
    line_.clear();
    if (!text || text->empty()) return OkStatus();
    any_ = true;
    RETURN_IF_ERROR(sink_.text(*text));
    return sink_.end();
  }

  const TextFile& file_;
  const std::string_view text_field_;
  const DocumentSink& sink_;
  std::string line_;
  int64_t line_number_ = 1;
  bool any_ = false;
};

}  // namespace

StatusOr<TextFormat> FormatOf(std::string_view format, std::string_view file_name) {
  if (format == "text") return TextFormat::kText;
  if (format == "jsonl") return TextFormat::kJsonl;
  if (format != "auto")
    return InvalidArgument("data format \"{}\" is not known; it is auto, text or jsonl", format);
  if (file_name.ends_with(".gz")) file_name.remove_suffix(3);
  return file_name.ends_with(".jsonl") || file_name.ends_with(".ndjson") ? TextFormat::kJsonl
                                                                         : TextFormat::kText;
}

Status ReadDocuments(const TextFile& file, TextFormat format, std::string_view text_field,
                     const DocumentSink& sink) {
  if (format == TextFormat::kText) return ReadText(file, sink);
  JsonlReader reader(file, text_field, sink);
  RETURN_IF_ERROR(ForEachBlock(file, [&](std::string_view text) { return reader.Add(text); }));
  return reader.Finish();
}

}  // namespace trainyard::worker

#include "coordinator/history/history.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "common/blob_store.h"

namespace trainyard::coordinator {
namespace {

constexpr int64_t kNotesQuota = 1 << 20;
constexpr size_t kMaxNoteText = 4096;

std::string LineOf(const TrainerNote& note) {
  const nlohmann::json json = {{"attempt", note.attempt},
                               {"rank", note.rank},
                               {"wall_time", note.wall_time},
                               {"type", note.type.substr(0, kMaxNoteText)},
                               {"message", note.message.substr(0, kMaxNoteText)}};
  // Text that is not UTF-8 is shown with replacement characters.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// Nothing for a line torn by a crash.
std::optional<TrainerNote> NoteOf(const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto number = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_number() ? found->get<double>() : 0.0;
  };
  const auto text = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  return TrainerNote{static_cast<AttemptNumber>(number("attempt")),
                     static_cast<int32_t>(number("rank")), number("wall_time"), text("type"),
                     text("message")};
}

}  // namespace

StatusOr<std::unique_ptr<History>> History::Open(const std::filesystem::path& folder,
                                                 HistoryOptions options) {
  RETURN_IF_ERROR(MakeFolders(folder));
  return std::unique_ptr<History>(new History(folder, options));
}

History::History(std::filesystem::path folder, const HistoryOptions& options)
    : folder_(std::move(folder)),
      sync_(options.on_failure),
      logs_(folder_, options.logs, sync_),
      points_(folder_, options.points, sync_) {}

StatusOr<std::filesystem::path> History::NotesPath(const JobId& job) const {
  RETURN_IF_ERROR(CheckBlobKey(job.value));
  if (job.value.find('/') != std::string::npos)
    return InvalidArgument("{:?} is not a job's id", job.value);
  return folder_ / job.value / "notes.jsonl";
}

Status History::AppendNote(const JobId& job, const TrainerNote& note) {
  ASSIGN_OR_RETURN(const std::filesystem::path path, NotesPath(job));
  RETURN_IF_ERROR(MakeFolders(path.parent_path()));
  constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
  auto fd = std::make_shared<UniqueFd>(::open(path.c_str(), kFlags, 0600));
  struct stat info;
  if (!fd->valid() || ::fstat(fd->get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  const std::string line = LineOf(note);
  if (info.st_size + static_cast<int64_t>(line.size()) > kNotesQuota) return OkStatus();
  RETURN_IF_ERROR(WriteAll(fd->get(), line, path.string()));
  sync_.Touch(std::move(fd));
  return OkStatus();
}

StatusOr<std::vector<TrainerNote>> History::Notes(const JobId& job, size_t limit) const {
  ASSIGN_OR_RETURN(const std::filesystem::path path, NotesPath(job));
  const auto bytes = ReadFile(path, kNotesQuota);
  if (bytes.status().code() == StatusCode::kNotFound) return std::vector<TrainerNote>();
  RETURN_IF_ERROR(bytes.status());
  std::vector<TrainerNote> notes;
  std::set<std::string> seen;  // a note may have been sent again
  for (size_t begin = 0; begin < bytes->size();) {
    const size_t end = std::min(bytes->find('\n', begin), bytes->size());
    const std::string line = bytes->substr(begin, end - begin);
    begin = end + 1;
    if (!seen.insert(line).second) continue;
    if (auto note = NoteOf(line)) notes.push_back(*std::move(note));
  }
  if (notes.size() > limit) notes.erase(notes.begin(), notes.end() - static_cast<ptrdiff_t>(limit));
  return notes;
}

Status History::Delete(const JobId& job) {
  ASSIGN_OR_RETURN(const std::filesystem::path notes, NotesPath(job));
  logs_.Close(job);
  points_.Close(job);
  std::error_code error;
  std::filesystem::remove_all(notes.parent_path(), error);
  if (error)
    return ErrnoStatus(error.value(),
                       fmt::format("cannot delete {}", notes.parent_path().string()));
  return OkStatus();
}

StatusOr<HistorySize> History::Size() const {
  HistorySize size;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(folder_, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code gone;  // it may be deleted meanwhile
    if (!entry->is_regular_file(gone) || gone) continue;
    const auto bytes = entry->file_size(gone);
    if (gone) continue;
    ++size.files;
    size.bytes += static_cast<int64_t>(bytes);
  }
  if (error && error != std::errc::no_such_file_or_directory)
    return ErrnoStatus(error.value(), fmt::format("cannot list {}", folder_.string()));
  return size;
}

}  // namespace trainyard::coordinator

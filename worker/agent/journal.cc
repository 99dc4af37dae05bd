#include "worker/agent/journal.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr int64_t kRecordBytesMax = 1 << 20;
constexpr size_t kAsideMax = 16;

// Reads typed fields of one object and remembers the first that is not as it should be.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  std::string Text(const char* name) {
    const auto at = object_.find(name);
    if (at != object_.end() && at->is_string()) return at->get<std::string>();
    return Complain(name, "a string"), "";
  }
  int64_t Number(const char* name) {
    const auto at = object_.find(name);
    if (at != object_.end() && at->is_number_integer()) return at->get<int64_t>();
    return Complain(name, "a whole number"), 0;
  }
  bool Flag(const char* name) {
    const auto at = object_.find(name);
    if (at != object_.end() && at->is_boolean()) return at->get<bool>();
    return Complain(name, "true or false"), false;
  }
  const Status& status() const { return status_; }

 private:
  void Complain(const char* name, const char* wanted) {
    if (status_.ok()) status_ = DataLoss("field {} is missing or not {}", name, wanted);
  }
  const Json& object_;
  Status status_;
};

// Deletes a tree; what it holds is already renamed out of sight, so a failure only costs space.
void Discard(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

}  // namespace

std::string ToJson(const RankRecord& r) {
  Json json = {{"version", kVersion},
               {"job", r.key.job.value},
               {"attempt", r.key.attempt},
               {"rank", r.key.rank},
               {"pid", r.process.pid},
               {"start_ticks", r.process.start_ticks},
               {"boot_id", r.process.boot_id},
               {"socket", r.socket},
               {"hello_secret", r.hello_secret},
               {"log_stored", r.log.stored},
               {"log_file", r.log.file},
               {"telemetry_sequence", r.telemetry_sequence},
               {"ended", r.ended},
               {"end_kind", r.end.kind},
               {"end_reason", r.end.reason},
               {"end_message", r.end.message},
               {"end_exit_code", r.end.exit_code},
               {"end_signal", r.end.signal}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

StatusOr<RankRecord> RankRecordFromJson(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return DataLoss("it is not a JSON object");
  Fields fields(json);
  if (const int64_t version = fields.Number("version"); fields.status().ok() && version != kVersion)
    return DataLoss("it has version {}, this agent reads {}", version, kVersion);
  RankRecord r;
  r.key = {JobId{fields.Text("job")}, static_cast<AttemptNumber>(fields.Number("attempt")),
           static_cast<int32_t>(fields.Number("rank"))};
  r.process = {static_cast<pid_t>(fields.Number("pid")), fields.Number("start_ticks"),
               fields.Text("boot_id")};
  r.socket = fields.Text("socket");
  r.hello_secret = fields.Text("hello_secret");
  r.log = {fields.Number("log_stored"), fields.Number("log_file")};
  r.telemetry_sequence = fields.Number("telemetry_sequence");
  r.ended = fields.Flag("ended");
  r.end = {fields.Text("end_kind"), fields.Text("end_reason"), fields.Text("end_message"),
           static_cast<int>(fields.Number("end_exit_code")),
           static_cast<int>(fields.Number("end_signal"))};
  RETURN_IF_ERROR(fields.status());
  if (r.process.pid < 0 || r.process.pid == 1 || r.log.stored < 0 || r.log.file < 0)
    return DataLoss("a number in it is out of range");
  return r;
}

StatusOr<Journal> Journal::Open(const fs::path& home) {
  Journal journal(home / "ranks", home / "aside");
  RETURN_IF_ERROR(MakeFolders(journal.ranks_));
  RETURN_IF_ERROR(MakeFolders(journal.aside_));
  return journal;
}

StatusOr<Journal::Scanned> Journal::Scan() {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(ranks_, error), end; !error && at != end; at.increment(error))
    entries.push_back(at->path());
  if (error) return ErrnoStatus(error.value(), fmt::format("cannot list {}", ranks_.string()));
  Scanned scanned;
  for (const fs::path& path : entries) {
    const std::string name = path.filename();
    if (name.starts_with(".gone-")) {  // a removal that a crash cut short
      Discard(path);
      continue;
    }
    const std::optional<RankKey> key = ParseRankName(name);
    if (!key || !fs::is_directory(fs::symlink_status(path, error))) {
      scanned.complaints.push_back(MoveAside(path, DataLoss("it is not the folder of a rank")));
      continue;
    }
    const StatusOr<std::string> text = ReadFile(path / "rank.json", kRecordBytesMax);
    if (absl::IsNotFound(text.status())) {
      RETURN_IF_ERROR(Remove(*key));
      continue;
    }
    StatusOr<RankRecord> record = text.ok() ? RankRecordFromJson(*text) : text.status();
    if (record.ok() && record->key != *key)
      record = DataLoss("its rank.json is about {}", NameOf(record->key));
    if (record.ok())
      scanned.ranks.push_back(*std::move(record));
    else
      scanned.complaints.push_back(MoveAside(path, record.status()));
  }
  std::sort(scanned.ranks.begin(), scanned.ranks.end(),
            [](const RankRecord& a, const RankRecord& b) { return a.key < b.key; });
  return scanned;
}

std::string Journal::MoveAside(const fs::path& path, const Status& why) {
  std::error_code error;
  std::vector<fs::path> old;
  for (fs::directory_iterator at(aside_, error), end; !error && at != end; at.increment(error))
    old.push_back(at->path());
  std::sort(old.begin(), old.end(), [](const fs::path& a, const fs::path& b) {
    std::error_code ignored;
    return fs::last_write_time(a, ignored) < fs::last_write_time(b, ignored);
  });
  for (size_t i = 0; i + kAsideMax <= old.size(); ++i) Discard(old[i]);
  const fs::path target = aside_ / fmt::format("{}-{}", path.filename().string(), RandomHex(4));
  fs::rename(path, target, error);
  if (error)
    return fmt::format("{}: {}; it cannot be moved aside either: {}", path.string(), MessageOf(why),
                       error.message());
  return fmt::format("{}: {}; moved to {}", path.string(), MessageOf(why), target.string());
}

Status Journal::MakeFolder(const RankKey& key) { return MakeFolders(Folder(key)); }

Status Journal::Write(const RankRecord& record) {
  return WriteFileAtomically(Folder(record.key) / "rank.json", ToJson(record));
}

Status Journal::Remove(const RankKey& key) {
  const fs::path gone = ranks_ / fmt::format(".gone-{}-{}", NameOf(key), RandomHex(4));
  std::error_code error;
  fs::rename(Folder(key), gone, error);
  if (error == std::errc::no_such_file_or_directory) return OkStatus();
  if (error)
    return ErrnoStatus(error.value(), fmt::format("cannot remove {}", Folder(key).string()));
  Discard(gone);
  return OkStatus();
}

}  // namespace trainyard::worker

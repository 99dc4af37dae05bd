#include "common/link/exit_record.h"

#include "common/files.h"
#include "common/link/message_fields.h"

namespace trainyard::link {
namespace {

constexpr int32_t kExitRecordVersion = 1;
constexpr int64_t kMaxFileBytes = 1 << 20;

}  // namespace

template <class A>
void Fields(A& a, ExitRecord& m) {
  a("wall_time", m.wall_time);
  a("status", m.status);
  a("telemetry_file", m.telemetry_file);
}

Status WriteExitRecord(const std::filesystem::path& path, const ExitRecord& record) {
  if (!record.status.outcome.has_value()) {
    return Internal("{}: an exit record without an outcome", path.string());
  }
  Writer writer;
  int32_t version = kExitRecordVersion;
  writer("version", version);
  Fields(writer, const_cast<ExitRecord&>(record));  // a Writer only reads
  return WriteFileAtomically(path, writer.Take().dump(2) + "\n");
}

StatusOr<ExitRecord> ReadExitRecord(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  const auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("{}: not JSON", path.string());
  ExitRecord record;
  Status error;
  int32_t version = 0;
  Reader reader(json, "exit_record", &error);
  reader("version", version);
  Fields(reader, record);
  if (error.ok() && version != kExitRecordVersion) reader.Fail("version", "unknown version");
  if (error.ok() && !record.status.outcome.has_value()) reader.Fail("status.outcome", "missing");
  if (error.ok() && record.telemetry_file.find('/') != std::string::npos) {
    reader.Fail("telemetry_file", "wants a plain file name");
  }
  if (!error.ok()) return Annotate(error, path.string());
  return record;
}

}  // namespace trainyard::link

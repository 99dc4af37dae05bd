#include "coordinator/store/schema.h"

#include <string>

#include "common/files.h"
#include "coordinator/store/store.h"

namespace trainyard::coordinator {
namespace {

// events: the truth, append-only. The JobCreated event holds a job's spec; its row in jobs holds
// what changes, so that no byte is stored twice; both go when it is deleted. meta: single values
// ("attempt_key", "events_deleted").
constexpr char kTables[] = R"sql(
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY,
  time_us INTEGER NOT NULL,
  actor TEXT NOT NULL,
  type TEXT NOT NULL,
  job TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  message TEXT NOT NULL,
  payload TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_job ON events (job, sequence);
CREATE TABLE jobs (
  created_sequence INTEGER PRIMARY KEY REFERENCES events,
  id TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL,
  state TEXT NOT NULL,
  create_time_us INTEGER NOT NULL,
  progress TEXT NOT NULL
) STRICT;
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  role TEXT NOT NULL,
  created_us INTEGER NOT NULL,
  revoked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
)sql";

Status CreateTables(Sqlite& db) {
  RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  RETURN_IF_ERROR(db.Execute(kTables));
  // Proves ranks of an attempt to each other; never leaves this file but for worker replies.
  RETURN_IF_ERROR(
      db.Execute(fmt::format("INSERT INTO meta VALUES ('attempt_key', '{}')", RandomHex(32))));
  RETURN_IF_ERROR(db.Execute(fmt::format("PRAGMA user_version = {}", Store::kSchemaVersion)));
  return db.Execute("COMMIT");
}

Status Check(Sqlite& db) {
  ASSIGN_OR_RETURN(const std::string verdict, db.QueryText("PRAGMA quick_check(1)"));
  if (verdict == "ok") return OkStatus();
  return DataLoss("the database is damaged: {}; restore it from a backup or move it away", verdict);
}

Status OpenChecked(Sqlite& db) {
  RETURN_IF_ERROR(db.Execute("PRAGMA locking_mode = EXCLUSIVE"));
  RETURN_IF_ERROR(db.Execute("PRAGMA journal_mode = WAL"));
  RETURN_IF_ERROR(db.Execute("PRAGMA synchronous = FULL"));
  RETURN_IF_ERROR(db.Execute("PRAGMA foreign_keys = OFF"));
  ASSIGN_OR_RETURN(const int64_t version, db.QueryInt("PRAGMA user_version"));
  if (version > Store::kSchemaVersion) {
    return FailedPrecondition(
        "schema {} was written by a newer Trainyard; this one knows up to {}: upgrade it", version,
        Store::kSchemaVersion);
  }
  if (version == 0) {
    ASSIGN_OR_RETURN(const int64_t tables, db.QueryInt("SELECT count(*) FROM sqlite_schema"));
    if (tables > 0) return DataLoss("this is a database, but not Trainyard's");
    return CreateTables(db);
  }
  return Check(db);
}

}  // namespace

StatusOr<std::unique_ptr<Sqlite>> OpenDatabase(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<Sqlite> db, Sqlite::Open(path.string()));
  if (Status opened = OpenChecked(*db); !opened.ok()) return Annotate(opened, path.string());
  return db;
}

}  // namespace trainyard::coordinator

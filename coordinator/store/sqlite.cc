#include "coordinator/store/sqlite.h"

#include <sqlite3.h>

#include <utility>

namespace trainyard::coordinator {
namespace {

// SQLITE_FULL is the only failure after which a transaction can simply be tried again; a damaged
// file is DataLoss. Everything else, a failed write or fsync among it, is Internal.
Status SqliteStatus(sqlite3* db, int code) {
  const std::string what =
      fmt::format("SQLite: {} (code {})", sqlite3_errmsg(db), sqlite3_extended_errcode(db));
  switch (code & 0xff) {
    case SQLITE_FULL:
      return ResourceExhausted("{}", what);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DataLoss("{}", what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return FailedPrecondition("{}: another process has the file open", what);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return PermissionDenied("{}", what);
    default:
      return Internal("{}", what);
  }
}

}  // namespace

Statement& Statement::operator=(Statement&& other) noexcept {
  if (this != &other) {
    sqlite3_finalize(statement_);
    statement_ = std::exchange(other.statement_, nullptr);
  }
  return *this;
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::Bind(int parameter, int64_t value) {
  sqlite3_bind_int64(statement_, parameter, value);
  return *this;
}

Statement& Statement::Bind(int parameter, std::string_view value) {
  sqlite3_bind_text64(statement_, parameter, value.data(), value.size(), SQLITE_TRANSIENT,
                      SQLITE_UTF8);
  return *this;
}

StatusOr<bool> Statement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement_);
    return false;
  }
  Status failed = SqliteStatus(sqlite3_db_handle(statement_), code);
  sqlite3_reset(statement_);
  return failed;
}

Status Statement::Run() {
  ASSIGN_OR_RETURN(const bool row, Step());
  if (row) sqlite3_reset(statement_);
  return OkStatus();
}

void Statement::Reset() { sqlite3_reset(statement_); }

int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string_view Statement::Text(int column) const {
  const void* text = sqlite3_column_blob(statement_, column);
  const int n = sqlite3_column_bytes(statement_, column);
  return text == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(text), n);
}

StatusOr<std::unique_ptr<Sqlite>> Sqlite::Open(const std::string& path) {
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &db,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<Sqlite> opened(new Sqlite(db));
  if (code != SQLITE_OK) return Annotate(SqliteStatus(db, code), path);
  sqlite3_extended_result_codes(db, 1);
  return opened;
}

Sqlite::~Sqlite() { sqlite3_close_v2(db_); }

Status Sqlite::Execute(const std::string& sql) {
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? OkStatus() : SqliteStatus(db_, code);
}

StatusOr<Statement> Sqlite::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(db_, code);
  return Statement(statement);
}

StatusOr<int64_t> Sqlite::QueryInt(std::string_view sql) {
  ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.Int(0) : 0;
}

StatusOr<std::string> Sqlite::QueryText(std::string_view sql) {
  ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? std::string(statement.Text(0)) : std::string();
}

int64_t Sqlite::changes() const { return sqlite3_changes64(db_); }

bool Sqlite::autocommit() const { return sqlite3_get_autocommit(db_) != 0; }

}  // namespace trainyard::coordinator

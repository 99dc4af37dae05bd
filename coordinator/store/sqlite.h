// A thin face on SQLite's C interface: one connection, prepared statements, Status for its codes.
// Not thread-safe; the store holds a lock around it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace trainyard::coordinator {

class Statement {
 public:
  Statement() = default;
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  Statement(Statement&& other) noexcept : statement_(other.statement_) {
    other.statement_ = nullptr;
  }
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  // Parameters count from 1 and keep their values until Reset.
  Statement& Bind(int parameter, int64_t value);
  Statement& Bind(int parameter, std::string_view value);
  // True: a row is there. Resets itself when the last row is gone or on an error.
  StatusOr<bool> Step();
  // For statements without rows.
  Status Run();
  void Reset();

  int64_t Int(int column) const;
  std::string_view Text(int column) const;  // until the next Step

 private:
  sqlite3_stmt* statement_ = nullptr;
};

class Sqlite {
 public:
  // `path` may be ":memory:" or a "file:" URI.
  static StatusOr<std::unique_ptr<Sqlite>> Open(const std::string& path);
  ~Sqlite();
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;

  Status Execute(const std::string& sql);
  StatusOr<Statement> Prepare(std::string_view sql);
  StatusOr<int64_t> QueryInt(std::string_view sql);
  StatusOr<std::string> QueryText(std::string_view sql);
  // Rows changed by the last statement.
  int64_t changes() const;
  // False inside a transaction.
  bool autocommit() const;

 private:
  explicit Sqlite(sqlite3* db) : db_(db) {}
  sqlite3* db_;
};

}  // namespace trainyard::coordinator

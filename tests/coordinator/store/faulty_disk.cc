#include "tests/coordinator/store/faulty_disk.h"

#include <new>

namespace trainyard::coordinator {
namespace {

// Lies in the memory that SQLite gives for a file; the system's file follows it.
struct File {
  sqlite3_file base;
  FaultyDisk* disk;
  sqlite3_file* under() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

File* Of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }

// Calls the same method of the system's file.
#define UNDER(file, method, ...) \
  Of(file)->under()->pMethods->method(Of(file)->under() __VA_OPT__(, ) __VA_ARGS__)

int Write(sqlite3_file* file, const void* bytes, int n, sqlite3_int64 offset) {
  if (Of(file)->disk->full) return SQLITE_FULL;
  return UNDER(file, xWrite, bytes, n, offset);
}

int Sync(sqlite3_file* file, int flags) {
  if (Of(file)->disk->fsync_fails) return SQLITE_IOERR_FSYNC;
  return UNDER(file, xSync, flags);
}

// Version 1: no shared memory, as for any file that one process has to itself.
const sqlite3_io_methods kMethods = {
    .iVersion = 1,
    .xClose = [](sqlite3_file* f) { return UNDER(f, xClose); },
    .xRead = [](sqlite3_file* f, void* bytes, int n,
                sqlite3_int64 at) { return UNDER(f, xRead, bytes, n, at); },
    .xWrite = Write,
    .xTruncate = [](sqlite3_file* f, sqlite3_int64 n) { return UNDER(f, xTruncate, n); },
    .xSync = Sync,
    .xFileSize = [](sqlite3_file* f, sqlite3_int64* n) { return UNDER(f, xFileSize, n); },
    .xLock = [](sqlite3_file* f, int level) { return UNDER(f, xLock, level); },
    .xUnlock = [](sqlite3_file* f, int level) { return UNDER(f, xUnlock, level); },
    .xCheckReservedLock = [](sqlite3_file* f,
                             int* out) { return UNDER(f, xCheckReservedLock, out); },
    .xFileControl = [](sqlite3_file* f, int op,
                       void* arg) { return UNDER(f, xFileControl, op, arg); },
    .xSectorSize = [](sqlite3_file* f) { return UNDER(f, xSectorSize); },
    .xDeviceCharacteristics = [](sqlite3_file* f) { return UNDER(f, xDeviceCharacteristics); },
    .xShmMap = nullptr,
    .xShmLock = nullptr,
    .xShmBarrier = nullptr,
    .xShmUnmap = nullptr,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

// The system's VFS stands in pAppData's disk; found through the default at construction.
sqlite3_vfs* g_under = nullptr;

int OpenFile(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
  File* opened = new (file) File{{nullptr}, static_cast<FaultyDisk*>(vfs->pAppData)};
  const int code = g_under->xOpen(g_under, name, opened->under(), flags, out);
  if (opened->under()->pMethods != nullptr) opened->base.pMethods = &kMethods;
  return code;
}

}  // namespace

FaultyDisk::FaultyDisk() : under_(sqlite3_vfs_find(nullptr)), vfs_(*under_) {
  g_under = under_;
  vfs_.zName = "faulty";
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + under_->szOsFile;
  vfs_.pAppData = this;
  vfs_.xOpen = OpenFile;
  sqlite3_vfs_register(&vfs_, /*makeDflt=*/1);
}

FaultyDisk::~FaultyDisk() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(under_, /*makeDflt=*/1);
}

}  // namespace trainyard::coordinator

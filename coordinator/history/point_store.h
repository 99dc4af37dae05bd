// Metric points: one append-only file of checksummed column blocks per job.
//
// A series is (attempt, rank, name); its steps only grow. A point at or below the newest step of
// its series is one that was sent again, and is skipped, so repeating a report does no harm.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "coordinator/history/point_block.h"
#include "coordinator/history/sync_group.h"

namespace trainyard::coordinator {

struct PointOptions {
  int64_t quota_bytes = int64_t{1} << 30;  // of one job; what follows is refused
  size_t open_files_max = 64;              // each holds the newest step of every series of a job
  size_t series_max = 20'000;              // of one job
};

struct PointPage {
  std::vector<Point> points;  // as they were stored
  int64_t next_offset = 0;    // where the next page begins; the same when there is nothing yet
};

// Thread-safe.
class PointStore {
 public:
  // `sync` outlives the store.
  PointStore(std::filesystem::path folder, PointOptions options, SyncGroup& sync);

  // All points are of one attempt and rank. InvalidArgument for names that are empty or longer than
  // kMaxPointName; ResourceExhausted past a bound. Drops a torn tail left by a crash.
  Status Append(const JobId& job, std::vector<Point> points);
  // Those of the last `max_bytes` of the file, blocks that begin before them left out.
  StatusOr<std::vector<Point>> Newest(const JobId& job, int64_t max_bytes) const;
  // About `max_bytes` of blocks from `offset` (0, or a next_offset). Blocks that disks have damaged
  // are left out.
  StatusOr<PointPage> Read(const JobId& job, int64_t offset, int64_t max_bytes) const;

  // Keeps the job's file open no more, so that it may be deleted.
  void Close(const JobId& job);

 private:
  using SeriesKey = std::tuple<AttemptNumber, int32_t, std::string>;
  struct OpenPoints;
  using Recent = std::list<std::pair<JobId, std::shared_ptr<OpenPoints>>>;

  StatusOr<std::filesystem::path> PathOf(const JobId& job) const;
  StatusOr<std::shared_ptr<OpenPoints>> Find(const JobId& job);
  StatusOr<std::shared_ptr<OpenPoints>> OpenFile(const JobId& job) const;
  Status AppendNew(OpenPoints& file, std::vector<Point> points);

  const std::filesystem::path folder_;
  const PointOptions options_;
  SyncGroup& sync_;
  absl::Mutex mu_;
  Recent recent_ ABSL_GUARDED_BY(mu_);  // least recently used first
  std::map<JobId, Recent::iterator> open_ ABSL_GUARDED_BY(mu_);
};

// Which points a resume has undone: those of an attempt at steps after the one from which a later
// attempt went on. `resumed_from` lists (attempt, step it resumed from; -1: the beginning).
class UndoneSteps {
 public:
  explicit UndoneSteps(const std::vector<std::pair<AttemptNumber, int64_t>>& resumed_from);
  bool IsUndone(AttemptNumber attempt, int64_t step) const;

 private:
  std::map<AttemptNumber, int64_t> kept_;  // last step that counts, of attempts with successors
};

// Chooses from a stream of points.
struct PointFilter {
  std::set<std::string> names = {};  // empty: all
  int64_t after_step = 0;            // only later ones; 0: all
};
bool Passes(const PointFilter& filter, const Point& point);

// Keeps at most `max_points` (0: all) of each name, evenly spread, and the last: first shown every
// point once (Count), then asked (Keep) in the same order.
class Thinning {
 public:
  explicit Thinning(int64_t max_points) : max_points_(max_points) {}
  void Count(const Point& point);
  bool Keep(const Point& point);

 private:
  struct Series {
    int64_t count = 0;
    int64_t asked = 0;
  };
  const int64_t max_points_;
  std::map<std::string, Series> series_;
};

}  // namespace trainyard::coordinator

// JobService's streams: snapshots of a job, its metric points.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/wire/values.h"
#include "coordinator/service/convert.h"
#include "coordinator/service/job_service.h"
#include "coordinator/service/log_stream.h"
#include "coordinator/service/stream.h"

namespace trainyard::coordinator {
namespace {

constexpr absl::Duration kStepPeriod = absl::Milliseconds(250);
constexpr int64_t kPageBytes = 256 << 10;
constexpr size_t kMaxPointsPerMessage = 2'000;
// A job's last points may still be on their way from a worker when the job ends: a stream that
// follows ends after this long without a new one.
constexpr absl::Duration kQuietAfterEnd = absl::Seconds(1);

// What of a job moves between two of its revisions.
struct Moving {
  int64_t step = 0;
  std::vector<std::pair<std::string, std::string>> ranks = {};  // phase and how far in it
  bool operator==(const Moving&) const = default;
};

Moving MovingOf(const JobView& view) {
  Moving moving{.step = view.step};
  for (const RankLive& rank : view.ranks) moving.ranks.emplace_back(rank.phase, rank.doing);
  return moving;
}

// Snapshots, conflated: a slow client gets the newest, not each.
class WatchStream final : public OutStream<v1::WatchJobResponse> {
 public:
  WatchStream(ServiceRuntime& runtime, CallRecord record, JobId job, int64_t after_revision)
      : OutStream(runtime, std::move(record)), job_(std::move(job)), revision_(after_revision) {}

 private:
  StatusOr<Next> Fill(v1::WatchJobResponse* message) override {
    if (!pending_.has_value()) RETURN_IF_ERROR(Look());
    if (!pending_.has_value()) return last_ ? Next::kEnd : Next::kNothingYet;
    // What is shown must be durable first.
    if (pending_->durable_after > runtime_.context().store.durable_sequence()) {
      if (!std::exchange(waiting_, true))
        runtime_.context().store.WhenDurable(
            pending_->durable_after,
            [self = std::static_pointer_cast<WatchStream>(shared_from_this())](Status status) {
              if (!status.ok()) self->EndWith(status);
              self->Wake();
            });
      return Next::kNothingYet;
    }
    waiting_ = false;
    const Job& job = *pending_->value.job;
    ASSIGN_OR_RETURN(
        *message->mutable_job(),
        JobToProto(pending_->value, runtime_.context().coordinator.LatestMetrics(job.id)));
    revision_ = job.revision;
    shown_ = MovingOf(pending_->value);
    sent_ = runtime_.context().clock.Elapsed();
    last_ = IsFinal(job.state);
    pending_.reset();
    return Next::kMessage;
  }

  // Takes a snapshot when it would show something new.
  Status Look() {
    if (last_) return OkStatus();
    ASSIGN_OR_RETURN(Answer<JobView> view, runtime_.context().coordinator.Get(job_.value));
    const bool is_new = view.value.job->revision > revision_;
    if (!is_new) {
      last_ = IsFinal(view.value.job->state);  // seen before it was asked for
      if (runtime_.context().clock.Elapsed() - sent_ < kStepPeriod) return OkStatus();
      const Moving moving = MovingOf(view.value);
      if (!shown_.has_value()) shown_ = moving;  // known to who gave after_revision
      if (moving == shown_) return OkStatus();
    }
    last_ = false;
    pending_ = std::move(view);
    return OkStatus();
  }

  const JobId job_;
  int64_t revision_;
  std::optional<Moving> shown_;
  absl::Duration sent_ = -absl::InfiniteDuration();
  std::optional<Answer<JobView>> pending_;
  bool waiting_ = false;
  bool last_ = false;
};

class MetricStream final : public OutStream<v1::WatchMetricsResponse> {
 public:
  MetricStream(ServiceRuntime& runtime, CallRecord record, JobId job,
               const v1::WatchMetricsRequest& request)
      : OutStream(runtime, std::move(record)),
        job_(std::move(job)),
        follow_(request.follow()),
        filter_{{request.metrics().begin(), request.metrics().end()}, request.after_step()},
        thinning_(request.max_points()),
        counted_(request.max_points() <= 0) {}

 private:
  StatusOr<Next> Fill(v1::WatchMetricsResponse* message) override {
    if (!counted_) RETURN_IF_ERROR(CountAll());
    const absl::Duration now = runtime_.context().clock.Elapsed();
    if (!JobHasEnded()) quiet_since_ = now;  // asked first: points come before the end
    while (ready_.empty()) {
      ASSIGN_OR_RETURN(const bool more, ReadPage());
      if (!more) break;
    }
    if (!ready_.empty()) {
      RETURN_IF_ERROR(Move(message));
      quiet_since_ = now;
      return Next::kMessage;
    }
    return !follow_ || now - quiet_since_ >= kQuietAfterEnd ? Next::kEnd : Next::kNothingYet;
  }

  // Ranks other than the first say what is theirs alone: their series carry their number.
  static void Rename(Point& point) {
    if (point.rank != 0) point.name = fmt::format("rank{}/{}", point.rank, point.name);
  }

  Status CountAll() {
    for (int64_t offset = 0;;) {
      ASSIGN_OR_RETURN(PointPage page,
                       runtime_.context().history.points().Read(job_, offset, kPageBytes));
      if (page.next_offset == offset) break;
      offset = page.next_offset;
      for (Point& point : page.points) {
        Rename(point);
        if (Passes(filter_, point)) thinning_.Count(point);
      }
    }
    counted_ = true;
    return OkStatus();
  }

  // False at the end of what is there.
  StatusOr<bool> ReadPage() {
    ASSIGN_OR_RETURN(PointPage page,
                     runtime_.context().history.points().Read(job_, offset_, kPageBytes));
    if (page.next_offset == offset_) return false;
    offset_ = page.next_offset;
    for (Point& point : page.points) {
      Rename(point);
      if (Passes(filter_, point) && thinning_.Keep(point)) ready_.push_back(std::move(point));
    }
    return true;
  }

  Status Move(v1::WatchMetricsResponse* message) {
    ASSIGN_OR_RETURN(const Answer<JobView> view, runtime_.context().coordinator.Get(job_.value));
    std::vector<std::pair<AttemptNumber, int64_t>> resumed;
    for (const Attempt& attempt : view.value.job->attempts)
      resumed.emplace_back(attempt.number, attempt.resumed_from_step);
    const UndoneSteps undone(resumed);
    const size_t n = std::min(ready_.size(), kMaxPointsPerMessage);
    for (size_t i = 0; i < n; ++i) {
      const Point& point = ready_[i];
      v1::MetricPoint* proto = message->add_points();
      proto->set_attempt(point.attempt);
      proto->set_step(point.step);
      proto->set_name(point.name);
      proto->set_value(point.value);
      if (const auto time = ToProto(absl::UnixEpoch() + absl::Seconds(point.wall_time)))
        *proto->mutable_time() = *time;
      proto->set_undone(undone.IsUndone(point.attempt, point.step));
    }
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<ptrdiff_t>(n));
    return OkStatus();
  }

  bool JobHasEnded() const {
    const auto view = runtime_.context().coordinator.Get(job_.value);
    return !view.ok() || IsFinal(view->value.job->state);
  }

  const JobId job_;
  const bool follow_;
  const PointFilter filter_;
  Thinning thinning_;
  bool counted_;
  int64_t offset_ = 0;
  std::vector<Point> ready_;  // of one page
  absl::Duration quiet_since_ = runtime_.context().clock.Elapsed();
};

// Admits the call and finds its job, then begins the stream that `make` makes.
template <class Response, class Make>
grpc::ServerWriteReactor<Response>* Follow(ServiceRuntime& runtime,
                                           const grpc::CallbackServerContext& call,
                                           std::string_view method, const std::string& name,
                                           const Make& make) {
  using Refused = RefusedStream<grpc::ServerWriteReactor<Response>>;
  CallRecord record(runtime, method);
  record.Received();
  const auto find = [&]() -> StatusOr<JobId> {
    RETURN_IF_ERROR(runtime.Admit(call, method).status());
    ASSIGN_OR_RETURN(const std::string ref, JobRef(name));
    ASSIGN_OR_RETURN(const Answer<JobView> view, runtime.context().coordinator.Get(ref));
    return view.value.job->id;
  };
  const StatusOr<JobId> job = find();
  if (!job.ok()) return new Refused(record, job.status());
  auto stream = make(record, *job);
  if (!stream.ok()) return new Refused(record, stream.status());
  (*stream)->Begin(*job);
  return stream->get();
}

}  // namespace

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobServiceImpl::WatchJob(
    Call* call, const v1::WatchJobRequest* request) {
  return Follow<v1::WatchJobResponse>(
      runtime_, *call, "/trainyard.v1.JobService/WatchJob", request->name(),
      [&](const CallRecord& record, const JobId& job) -> StatusOr<std::shared_ptr<WatchStream>> {
        return std::make_shared<WatchStream>(runtime_, record, job, request->after_revision());
      });
}

grpc::ServerWriteReactor<v1::WatchMetricsResponse>* JobServiceImpl::WatchMetrics(
    Call* call, const v1::WatchMetricsRequest* request) {
  return Follow<v1::WatchMetricsResponse>(
      runtime_, *call, "/trainyard.v1.JobService/WatchMetrics", request->name(),
      [&](const CallRecord& record, const JobId& job) -> StatusOr<std::shared_ptr<MetricStream>> {
        return std::make_shared<MetricStream>(runtime_, record, job, *request);
      });
}

grpc::ServerWriteReactor<v1::TailLogsResponse>* JobServiceImpl::TailLogs(
    Call* call, const v1::TailLogsRequest* request) {
  return Follow<v1::TailLogsResponse>(runtime_, *call, "/trainyard.v1.JobService/TailLogs",
                                      request->name(),
                                      [&](const CallRecord& record, const JobId& job) {
                                        return LogStream::Make(runtime_, record, job, *request);
                                      });
}

}  // namespace trainyard::coordinator

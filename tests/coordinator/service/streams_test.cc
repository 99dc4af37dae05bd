// Watching jobs, tailing logs, following metrics.
#include <gmock/gmock.h>

#include "coordinator/service/log_stream.h"
#include "tests/coordinator/service/fixture.h"

namespace trainyard::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class StreamsTest : public ServiceTest {
 protected:
  StreamsTest() : job_(Create(Request())) {}

  void Cancel() {
    const auto context = AsAdmin();
    v1::CancelJobRequest request;
    request.set_name(job_.name());
    v1::Job ignored;
    ASSERT_OK(FromGrpc(jobs_->CancelJob(context.get(), request, &ignored)));
  }
  void Log(int rank, const std::string& text, int attempt = 1) {
    const LogKey key{JobId{job_.job_id()}, attempt, rank};
    const int64_t offset = static_cast<int64_t>(history_->logs().Read(key, 0, 1 << 30)->size());
    ASSERT_OK(history_->logs().Append(key, offset, text, clock_.Now()));
  }
  v1::TailLogsRequest Tail() const {
    v1::TailLogsRequest request;
    request.set_name(job_.name());
    return request;
  }
  // Everything until the stream ends: text by (attempt, rank). The last cursor goes to `cursor`.
  std::map<std::pair<int, int>, std::string> ReadAll(const v1::TailLogsRequest& request,
                                                     std::string* cursor = nullptr,
                                                     int messages_max = 1 << 30) {
    std::map<std::pair<int, int>, std::string> text;
    const auto context = AsAdmin();
    const auto stream = jobs_->TailLogs(context.get(), request);
    v1::TailLogsResponse response;
    for (int i = 0; i < messages_max; ++i) {
      if (!stream->Read(&response)) {
        EXPECT_OK(FromGrpc(stream->Finish()));
        return text;
      }
      text[{response.attempt(), response.rank()}] += response.data();
      if (cursor != nullptr) *cursor = response.cursor();
    }
    context->TryCancel();
    return text;
  }
  void AddPoints(int attempt, int64_t first, int64_t last, const std::string& name = "loss") {
    std::vector<Point> points;
    for (int64_t step = first; step <= last; ++step)
      points.push_back({attempt, 0, step, name, 1.0 / static_cast<double>(step), 1.7e9});
    ASSERT_OK(history_->points().Append(JobId{job_.job_id()}, points));
  }
  std::vector<v1::MetricPoint> Metrics(v1::WatchMetricsRequest request) {
    request.set_name(job_.name());
    const auto context = AsAdmin();
    const auto stream = jobs_->WatchMetrics(context.get(), request);
    std::vector<v1::MetricPoint> points;
    v1::WatchMetricsResponse response;
    while (stream->Read(&response)) {
      EXPECT_LE(response.points_size(), 2000);
      points.insert(points.end(), response.points().begin(), response.points().end());
    }
    EXPECT_OK(FromGrpc(stream->Finish()));
    return points;
  }

  const v1::Job job_;
};

TEST_F(StreamsTest, WatchBeginsWithASnapshotTellsChangesAndEndsWithTheJob) {
  const auto context = AsAdmin();
  v1::WatchJobRequest request;
  request.set_name(job_.name());
  const auto stream = jobs_->WatchJob(context.get(), request);
  v1::WatchJobResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.job().job_id(), job_.job_id());
  Cancel();
  int64_t revision = 0;
  do {
    EXPECT_GE(response.job().revision(), revision);
    revision = response.job().revision();
  } while (stream->Read(&response));
  EXPECT_EQ(response.job().state(), v1::CANCELLED);
  EXPECT_OK(FromGrpc(stream->Finish()));
  // Who knows the last revision already gets nothing but the end.
  const auto again = AsAdmin();
  request.set_after_revision(response.job().revision());
  const auto ended = jobs_->WatchJob(again.get(), request);
  EXPECT_FALSE(ended->Read(&response));
  EXPECT_OK(FromGrpc(ended->Finish()));
}

TEST_F(StreamsTest, AWatchTellsHowFarARankIsInAPhaseThatTakesLong) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  worker.WaitForRanks(1);
  const auto context = AsAdmin();
  v1::WatchJobRequest request;
  request.set_name(job_.name());
  const auto stream = jobs_->WatchJob(context.get(), request);
  for (const char* doing : {"reading weights, 120 of 538 MB", "reading weights, 310 of 538 MB"}) {
    worker.report.mutable_ranks(0)->set_phase("loading");
    worker.report.mutable_ranks(0)->set_doing(doing);
    ASSERT_TRUE(worker.Report());
    v1::WatchJobResponse response;
    do {
      ASSERT_TRUE(stream->Read(&response));
      ASSERT_EQ(response.job().attempts_size(), 1);
    } while (response.job().attempts(0).ranks(0).doing() != doing);
    EXPECT_EQ(response.job().attempts(0).ranks(0).phase(), "loading");
  }
  context->TryCancel();
}

TEST_F(StreamsTest, AWatchThatIsDroppedLeavesNothingBehind) {
  for (int i = 0; i < 20; ++i) {
    const auto context = AsAdmin();
    v1::WatchJobRequest request;
    request.set_name(job_.name());
    const auto stream = jobs_->WatchJob(context.get(), request);
    v1::WatchJobResponse response;
    ASSERT_TRUE(stream->Read(&response));
    context->TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  server_->Drain(absl::Seconds(5));  // would hang on a stream that was forgotten
}

TEST_F(StreamsTest, LogsCanBeTakenUpAtEveryMessageWithoutLossOrRepetition) {
  std::string whole[2];
  for (int i = 0; i < 40; ++i)
    for (int rank = 0; rank < 2; ++rank) {
      std::string line(30'000, static_cast<char>('a' + rank));
      line += fmt::format(" {}\n", i);
      Log(rank, line);
      whole[rank] += line;
    }
  std::map<std::pair<int, int>, std::string> text;
  v1::TailLogsRequest request = Tail();
  int calls = 0;
  for (bool more = true; more; ++calls) {
    ASSERT_LT(calls, 100);
    std::string cursor = request.cursor();
    const auto part = ReadAll(request, &cursor, 1);
    for (const auto& [log, bytes] : part) text[log] += bytes;
    more = !part.empty();
    request.set_cursor(cursor);
  }
  EXPECT_GT(calls, 5);
  EXPECT_TRUE((text[{1, 0}] == whole[0])) << text[{1, 0}].size() << " of " << whole[0].size();
  EXPECT_TRUE((text[{1, 1}] == whole[1])) << text[{1, 1}].size() << " of " << whole[1].size();
}

TEST_F(StreamsTest, FollowedLogsEndAfterTheJobWithTheirLastHalfLine) {
  Log(0, "one\ntw");
  const auto context = AsAdmin();
  v1::TailLogsRequest request = Tail();
  request.set_follow(true);
  const auto stream = jobs_->TailLogs(context.get(), request);
  v1::TailLogsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.data(), "one\n");
  Log(0, "o\nthree\nhalf a li");
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.data(), "two\nthree\n");
  EXPECT_EQ(response.offset(), 4);
  Cancel();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.data(), "half a li");
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_OK(FromGrpc(stream->Finish()));
}

TEST_F(StreamsTest, LogsAreChosenByRankAttemptAndTail) {
  Log(0, "first\n", 1);
  Log(0, "zero one\nzero two\n", 2);
  Log(1, "one one\none two\n", 2);
  v1::TailLogsRequest request = Tail();
  EXPECT_EQ(ReadAll(request).size(), 3u);
  request.set_rank(0);
  EXPECT_THAT(ReadAll(request), ElementsAre(std::pair(std::pair(1, 0), "first\n"),
                                            std::pair(std::pair(2, 0), "zero one\nzero two\n")));
  request.set_attempt(1);
  EXPECT_THAT(ReadAll(request), ElementsAre(std::pair(std::pair(1, 0), "first\n")));
  request = Tail();
  request.set_tail_bytes(10);
  EXPECT_THAT(ReadAll(request), ElementsAre(std::pair(std::pair(2, 0), "zero two\n"),
                                            std::pair(std::pair(2, 1), "one two\n")));
  request = Tail();
  *request.mutable_since() = [] {
    google::protobuf::Timestamp time;
    time.set_seconds(32'503'680'000);  // the year 3000
    return time;
  }();
  EXPECT_THAT(ReadAll(request), IsEmpty());
}

TEST_F(StreamsTest, RequestsThatMakeNoSenseAreRefused) {
  const auto refuse = [&](const v1::TailLogsRequest& request) {
    const auto context = AsAdmin();
    const auto stream = jobs_->TailLogs(context.get(), request);
    v1::TailLogsResponse response;
    EXPECT_FALSE(stream->Read(&response));
    return FromGrpc(stream->Finish());
  };
  v1::TailLogsRequest request = Tail();
  request.set_cursor("garbage");
  EXPECT_EQ(FieldOf(refuse(request)), "cursor");
  request = Tail();
  request.set_tail_bytes(-1);
  EXPECT_EQ(FieldOf(refuse(request)), "tail_bytes");
  request.set_name("nobody");
  EXPECT_EQ(ReasonOf(refuse(request)), "JOB_NOT_FOUND");
}

TEST_F(StreamsTest, MetricsComeWholeFilteredAndThinned) {
  AddPoints(1, 1, 5000);
  AddPoints(1, 100, 100, "eval_loss");
  EXPECT_EQ(Metrics({}).size(), 5001u);
  v1::WatchMetricsRequest request;
  request.add_metrics("eval_loss");
  ASSERT_EQ(Metrics(request).size(), 1u);
  EXPECT_EQ(Metrics(request)[0].value(), 0.01);
  request = {};
  request.set_after_step(4990);
  EXPECT_EQ(Metrics(request).size(), 10u);
  request = {};
  request.set_max_points(100);
  const auto thinned = Metrics(request);
  EXPECT_LE(thinned.size(), 101u);
  EXPECT_GE(thinned.size(), 100u);
}

TEST_F(StreamsTest, FollowedMetricsEndAfterTheJob) {
  AddPoints(1, 1, 3);
  const auto context = AsAdmin();
  v1::WatchMetricsRequest request;
  request.set_name(job_.name());
  request.set_follow(true);
  const auto stream = jobs_->WatchMetrics(context.get(), request);
  v1::WatchMetricsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.points_size(), 3);
  EXPECT_FALSE(response.points(0).undone());
  AddPoints(1, 4, 5);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.points_size(), 2);
  Cancel();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_OK(FromGrpc(stream->Finish()));
}

TEST(Cursor, ComesBackAsItWentAndRefusesGarbage) {
  const LogPositions positions = {{{1, 0}, 5}, {{1, 1}, 0}, {{12, 7}, int64_t{1} << 40}};
  ASSERT_OK_AND_ASSIGN(const LogPositions back, ParseCursor(CursorOf(positions)));
  EXPECT_EQ(back, positions);
  EXPECT_THAT(*ParseCursor(""), IsEmpty());
  for (const char* bad : {"1", "1.0", "1.0=", "1.0=x", "1.0=5x", "1.0=-5", "a.b=c", ";", "=",
                          "99999999999999999999.0=1"})
    EXPECT_THAT(ParseCursor(bad), StatusIs(StatusCode::kInvalidArgument, HasSubstr("cursor")))
        << bad;
}

}  // namespace
}  // namespace trainyard::coordinator

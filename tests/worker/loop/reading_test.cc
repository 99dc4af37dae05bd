#include "worker/loop/reading.h"

#include <absl/synchronization/mutex.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <tuple>

#include "common/clock.h"
#include "common/link/link_client.h"
#include "common/link/link_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "worker/loop/alone_rank.h"
#include "worker/loop/linked_rank.h"
#include "worker/loop/outcome.h"

namespace trainyard::worker {
namespace {

TEST(Reading, IsSaidInMegabytes) {
  EXPECT_EQ(SayReading("reading weights", 119'600'000, 538'000'000),
            "reading weights, 120 of 538 MB");
  EXPECT_EQ(SayReading("reading weights", 0, 400), "reading weights, 0 of 0 MB");
}

TEST(Reading, BeatsAndStandsUntilTheNextPhase) {
  const SystemClock clock;
  const TempFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
  const std::filesystem::path socket = folder.path() / "link";
  ASSERT_OK_AND_ASSIGN(const auto server,
                       link::LinkServer::Start({.socket_path = socket, .secret = "s"}, clock));
  absl::Mutex mu;
  link::RankStatus heard;
  const auto agent =
      link::LinkClient::Start({.socket_path = socket, .secret = "s", .agent = "a"},
                              {.on_status =
                                   [&](const link::RankStatus& status) {
                                     absl::MutexLock lock(&mu);
                                     heard = status;
                                   },
                               .on_telemetry = [](uint64_t, const link::Telemetry&) {},
                               .on_connected = [](const link::Challenge&) {},
                               .on_disconnected = [](const Status&) {}},
                              clock);
  ASSERT_OK(agent);
  const auto hears = [&](const link::RankStatus& wanted) {
    const auto same = [&] {
      return std::tuple(heard.phase, heard.doing, heard.beat) ==
             std::tuple(wanted.phase, wanted.doing, wanted.beat);
    };
    absl::MutexLock lock(&mu);
    return mu.AwaitWithTimeout(absl::Condition(&same), absl::Seconds(20));
  };
  LinkedRank rank(server.get(), &clock, absl::Seconds(60));
  rank.SetPhase(link::Phase::kLoading);
  const ReadProgress tell = TellReading(rank);
  ASSERT_OK(tell("reading weights", 1'000'000, 3'000'000));
  ASSERT_OK(tell("reading weights", 2'000'000, 3'000'000));
  rank.Pulse(0);
  EXPECT_TRUE(
      hears({.phase = link::Phase::kLoading, .doing = "reading weights, 2 of 3 MB", .beat = 2}));
  rank.SetPhase(link::Phase::kTraining);
  EXPECT_TRUE(hears({.phase = link::Phase::kTraining, .beat = 2}));
}

TEST(Reading, EndsWhenToldToStopNow) {
  AloneRank rank({});
  const ReadProgress tell = TellReading(rank);
  EXPECT_OK(tell("reading weights", 1, 3));
  rank.RequestStop(link::StopMode::kCheckpoint);
  EXPECT_OK(tell("reading weights", 2, 3));
  rank.RequestStop(link::StopMode::kNow);
  EXPECT_EQ(ReasonOf(tell("reading weights", 3, 3)), kStopped);
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/agent/telemetry_queue.h"

#include <gmock/gmock.h>

#include <fstream>
#include <set>

#include "common/rng.h"
#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;

// Stores as the coordinator does: by offset, what it has already is skipped, what would leave a gap
// is refused with the position to go back to.
struct FakeStore {
  std::map<RankKey, std::string> logs;
  std::vector<std::string> events;
  v1::TelemetryResponse Take(const v1::TelemetryRequest& request) {
    v1::TelemetryResponse response;
    response.set_acknowledged(request.sequence());
    if (request.has_event()) events.push_back(request.event().message());
    if (!request.has_log()) return response;
    const v1::LogChunk& chunk = request.log();
    std::string& stored = logs[{JobId{chunk.job_id()}, chunk.attempt(), chunk.rank()}];
    const auto size = static_cast<int64_t>(stored.size());
    if (chunk.offset() > size) {
      v1::LogPosition& position = *response.add_positions();
      position.set_job_id(chunk.job_id());
      position.set_attempt(chunk.attempt());
      position.set_rank(chunk.rank());
      position.set_offset(size);
    } else if (const auto have = static_cast<size_t>(size - chunk.offset());
               have < chunk.data().size()) {
      stored += chunk.data().substr(have);
    }
    return response;
  }
};

v1::TelemetryRequest Event(const std::string& message) {
  v1::TelemetryRequest request;
  request.mutable_event()->set_message(message);
  return request;
}

class TelemetryQueueTest : public testing::Test {
 protected:
  TelemetryQueueTest() : folder_(testing::TempDir() + "/telemetry-" + RandomHex(4)) {
    fs::create_directories(folder_);
  }
  ~TelemetryQueueTest() override { fs::remove_all(folder_); }
  fs::path Log(int rank) const { return folder_ / fmt::format("log-{}", rank); }
  void Append(int rank, const std::string& bytes) {
    std::ofstream(Log(rank), std::ios::app) << bytes;
  }
  static RankKey Key(int rank) { return {JobId{"job"}, 1, rank}; }

  // Sends everything and takes the answers.
  static void Exchange(TelemetryQueue& queue, FakeStore& store) {
    bool more = true;
    while (more) {
      more = *queue.ReadLogs();
      while (auto request = queue.Next()) {
        queue.OnResponse(store.Take(*request));
        more = true;
      }
    }
  }

  fs::path folder_;
  FakeStore store_;
};

TEST_F(TelemetryQueueTest, OnlyTheFirstMessageOfAStreamNamesTheWorker) {
  TelemetryQueue queue("worker-0", {});
  queue.Add(Key(0), Log(0), {});
  ASSERT_TRUE(queue.Offer(Key(0), Event("a"), 1));
  ASSERT_TRUE(queue.Offer(Key(0), Event("b"), 2));
  for (int stream = 0; stream < 2; ++stream) {
    queue.StreamBegan();
    EXPECT_EQ(queue.Next()->worker_id(), "worker-0");
    EXPECT_EQ(queue.Next()->worker_id(), "");
    EXPECT_EQ(queue.Next(), std::nullopt);
  }
}

TEST_F(TelemetryQueueTest, WhatIsNotAcknowledgedComesAgainOnTheNextStream) {
  TelemetryQueue queue("w", {});
  queue.Add(Key(0), Log(0), {});
  ASSERT_TRUE(queue.Offer(Key(0), Event("a"), 1));
  ASSERT_TRUE(queue.Offer(Key(0), Event("b"), 5));
  queue.StreamBegan();
  queue.OnResponse(store_.Take(*queue.Next()));
  EXPECT_EQ(queue.Next()->event().message(), "b");  // sent and lost
  EXPECT_EQ(queue.ProgressOf(Key(0))->link_sequence, 1);
  EXPECT_FALSE(queue.ProgressOf(Key(0))->idle);
  queue.StreamBegan();
  Exchange(queue, store_);
  EXPECT_THAT(store_.events, testing::ElementsAre("a", "b"));
  EXPECT_EQ(queue.ProgressOf(Key(0))->link_sequence, 5);
  EXPECT_TRUE(queue.ProgressOf(Key(0))->idle);
}

TEST_F(TelemetryQueueTest, APositionMakesTheLogGoBackAndNothingIsLost) {
  TelemetryQueue queue("w", {.log_piece_bytes = 100});
  queue.Add(Key(0), Log(0), {});
  std::string text;
  for (int i = 0; i < 500; ++i) text += fmt::format("line {}\n", i);
  Append(0, text);
  ASSERT_OK(queue.ReadLogs());
  queue.StreamBegan();
  (void)queue.Next();  // never arrives, as when the coordinator lost its last write
  Exchange(queue, store_);
  EXPECT_EQ(store_.logs[Key(0)], text);
  EXPECT_EQ(queue.ProgressOf(Key(0))->log,
            (LogPlace{static_cast<int64_t>(text.size()), static_cast<int64_t>(text.size())}));
}

TEST_F(TelemetryQueueTest, AnAgentWithAnOldJournalSendsAgainAndTheStoreSkipsIt) {
  Append(0, std::string(300'000, 'x') + "end");
  TelemetryQueue first("w", {});
  first.Add(Key(0), Log(0), {});
  first.StreamBegan();
  Exchange(first, store_);
  Append(0, "more");
  TelemetryQueue second("w", {});
  second.Add(Key(0), Log(0), {100'000, 100'000});
  second.StreamBegan();
  Exchange(second, store_);
  EXPECT_EQ(store_.logs[Key(0)], std::string(300'000, 'x') + "endmore");
}

TEST_F(TelemetryQueueTest, ItIsFullBeforeItGrowsAndHasRoomAgainWhenAcknowledged) {
  TelemetryQueue queue("w",
                       {.log_piece_bytes = 1000, .log_bytes_per_rank = 5000, .item_bytes = 200});
  queue.Add(Key(0), Log(0), {});
  queue.Add(Key(1), Log(1), {});
  Append(0, std::string(50'000, 'x'));
  Append(1, "small");
  ASSERT_OK(queue.ReadLogs());
  ASSERT_OK(queue.ReadLogs());
  int sent = 0;
  queue.StreamBegan();
  while (queue.Next()) ++sent;
  EXPECT_EQ(sent, 6);  // five pieces of the flood, and the other rank's word
  int offered = 0;
  while (queue.Offer(Key(0), Event(std::string(40, 'e')), offered + 1)) ++offered;
  EXPECT_GT(offered, 1);
  EXPECT_LT(offered, 6);
  queue.StreamBegan();
  Exchange(queue, store_);
  EXPECT_EQ(store_.logs[Key(0)].size(), 50'000u);
  EXPECT_TRUE(queue.Offer(Key(0), Event("e"), 99));
}

TEST_F(TelemetryQueueTest, ARemovedRankTakesItsItemsAlong) {
  TelemetryQueue queue("w", {});
  queue.Add(Key(0), Log(0), {});
  queue.Add(Key(1), Log(1), {});
  ASSERT_TRUE(queue.Offer(Key(0), Event("a"), 1));
  ASSERT_TRUE(queue.Offer(Key(1), Event("b"), 1));
  queue.Remove(Key(0));
  EXPECT_FALSE(queue.Offer(Key(0), Event("a"), 2));
  queue.StreamBegan();
  Exchange(queue, store_);
  EXPECT_THAT(store_.events, testing::ElementsAre("b"));
}

TEST_F(TelemetryQueueTest, AnItemThatTheCoordinatorRefusesIsFoundAndDropped) {
  TelemetryQueue queue("w", {});
  queue.Add(Key(0), Log(0), {});
  const std::vector<std::string> all = {"a", "b", "poison", "c", "poison", "d"};
  for (size_t i = 0; i < all.size(); ++i)
    ASSERT_TRUE(queue.Offer(Key(0), Event(all[i]), static_cast<int64_t>(i + 1)));
  int streams = 0;
  while (!queue.ProgressOf(Key(0))->idle) {
    ASSERT_LT(++streams, 10);
    queue.StreamBegan();
    // Acknowledgements come after all that can be sent was sent.
    bool refused = false;
    while (!refused) {
      v1::TelemetryResponse last;
      while (auto request = queue.Next()) {
        refused |= request->event().message() == "poison";
        if (!refused) last = store_.Take(*request);
      }
      if (last.acknowledged() == 0) break;
      if (!refused) queue.OnResponse(last);
    }
    queue.StreamEnded(refused ? InvalidArgument("bad") : OkStatus());
  }
  EXPECT_THAT(std::set<std::string>(store_.events.begin(), store_.events.end()),
              testing::ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(queue.ProgressOf(Key(0))->link_sequence, 6);
}

// Streams that break at any moment, answers that get lost, agents that die: the stored log is a
// prefix of the file at every moment, and all of it in the end.
TEST_F(TelemetryQueueTest, NothingIsLostOrGarbledWhateverBreaks) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Rng rng{seed, Purpose::kInit};
    fs::remove(Log(0));
    FakeStore store;
    auto queue = std::make_unique<TelemetryQueue>("w", TelemetryBounds{.log_piece_bytes = 700});
    LogPlace journaled;
    std::string written;
    queue->Add(Key(0), Log(0), journaled);
    queue->StreamBegan();
    for (uint64_t step = 0; step < 400; ++step) {
      const auto roll = [&](uint64_t n, uint64_t i) { return rng.Below(n, step, i); };
      if (roll(3, 0) == 0) {
        std::string more(roll(3000, 1), static_cast<char>('a' + roll(26, 2)));
        written += more;
        Append(0, more);
      }
      ASSERT_OK(queue->ReadLogs());
      if (auto request = queue->Next(); request && roll(10, 3) != 0) {
        const auto response = store.Take(*request);
        if (roll(10, 4) != 0) queue->OnResponse(response);
      }
      if (roll(20, 5) == 0) queue->StreamBegan();
      if (roll(15, 6) == 0) {
        journaled = queue->ProgressOf(Key(0))->log;
        ASSERT_OK(queue->Release(Key(0), journaled));
      }
      if (roll(40, 7) == 0) {
        queue = std::make_unique<TelemetryQueue>("w", TelemetryBounds{.log_piece_bytes = 700});
        queue->Add(Key(0), Log(0), journaled);
        queue->StreamBegan();
      }
      ASSERT_TRUE(written.starts_with(store.logs[Key(0)])) << "seed " << seed << " step " << step;
    }
    queue->StreamBegan();
    Exchange(*queue, store);
    EXPECT_EQ(store.logs[Key(0)], written) << "seed " << seed;
  }
}

}  // namespace
}  // namespace trainyard::worker

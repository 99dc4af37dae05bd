#include "worker/agent/rank_end.h"

#include <gmock/gmock.h>
#include <signal.h>

namespace trainyard::worker {
namespace {

const RankKey kKey{JobId{"job"}, 2, 1};

link::ExitRecord Record(link::Outcome outcome) {
  link::ExitRecord record;
  record.status.job = kKey.job;
  record.status.attempt = kKey.attempt;
  record.status.rank = kKey.rank;
  record.status.outcome = std::move(outcome);
  return record;
}

TEST(EndOf, BelievesTheExitRecord) {
  DeathFacts facts;
  facts.record = Record({link::OutcomeKind::kFailed, "INVALID_ARGUMENT", "BAD_INPUT", "data: bad"});
  facts.status = ExitStatus{1, 0};
  EXPECT_EQ(EndOf(kKey, facts), (RankEnd{"failed", "BAD_INPUT", "data: bad", 1, 0}));
  facts.record = Record({link::OutcomeKind::kFailed, "UNAVAILABLE", "", "x"});
  EXPECT_EQ(EndOf(kKey, facts).reason, "UNAVAILABLE");
  facts.record = Record({link::OutcomeKind::kSucceeded, "OK", "", ""});
  facts.killed_why = "too late";
  EXPECT_EQ(EndOf(kKey, facts).kind, "succeeded");
}

TEST(EndOf, DoesNotBelieveARecordOfAnotherAttempt) {
  DeathFacts facts;
  facts.record = Record({link::OutcomeKind::kSucceeded, "OK", "", ""});
  facts.record->status.attempt = 1;
  EXPECT_EQ(EndOf(kKey, facts).kind, "failed");
}

TEST(EndOf, NoRecordOfAnAdoptedProcessMeansKilled) {
  const RankEnd end = EndOf(kKey, {});
  EXPECT_EQ(end.reason, "KILLED");
  EXPECT_EQ(end.signal, SIGKILL);
}

TEST(EndOf, TellsTheWaysToDieApart) {
  const auto reason = [](ExitStatus status, bool out_of_memory, const char* killed_why) {
    DeathFacts facts;
    facts.status = status;
    facts.out_of_memory_kills = out_of_memory;
    facts.killed_why = killed_why;
    return EndOf(kKey, facts).reason;
  };
  EXPECT_EQ(reason({0, SIGKILL}, false, ""), "KILLED");
  EXPECT_EQ(reason({0, SIGKILL}, true, ""), "OUT_OF_MEMORY");
  EXPECT_EQ(reason({0, SIGKILL}, true, "not wanted"), "STOPPED");
  EXPECT_EQ(reason({0, SIGSEGV}, true, ""), "CRASHED");
  EXPECT_EQ(reason({3, 0}, true, ""), "NO_EXIT_RECORD");
  EXPECT_EQ(reason({0, 0}, false, ""), "NO_EXIT_RECORD");
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/loop/outcome.h"

#include <gmock/gmock.h>

namespace trainyard::worker {
namespace {

TEST(Outcome, NamesWhatThePersonInChargeCanMend) {
  EXPECT_EQ(OutcomeOf(InvalidArgument("x")).reason, kBadInput);
  EXPECT_EQ(OutcomeOf(Unimplemented("x")).reason, kBadInput);
  EXPECT_EQ(OutcomeOf(ResourceExhausted("x")).reason, kOutOfMemory);
  EXPECT_EQ(OutcomeOf(DataLoss("x")).reason, kDataDamaged);
  EXPECT_EQ(OutcomeOf(Internal("x")).reason, kInternal);
  EXPECT_EQ(OutcomeOf(Internal("x")).kind, link::OutcomeKind::kFailed);
  EXPECT_EQ(OutcomeOf(InvalidArgument("too many")).message, "too many");
}

TEST(Outcome, BelievesAReasonThatTheErrorCarries) {
  const link::Outcome outcome = OutcomeOf(WithReason(ResourceExhausted("x"), kDiskFull));
  EXPECT_EQ(outcome.reason, kDiskFull);
  EXPECT_EQ(outcome.code, "RESOURCE_EXHAUSTED");
}

TEST(Outcome, StoppingIsNoFailure) {
  EXPECT_EQ(OutcomeOf(StopRequested("the end")).kind, link::OutcomeKind::kStopped);
  EXPECT_EQ(OutcomeOf(WithReason(Unavailable("x"), kAgentLost)).kind, link::OutcomeKind::kStopped);
}

TEST(Outcome, APeerThatIsGoneOrLateIsLostAndOneThatDisagreesIsABug) {
  EXPECT_EQ(ReasonOf(PeerError(Aborted("x"))), kPeerLost);
  EXPECT_EQ(ReasonOf(PeerError(DeadlineExceeded("x"))), kPeerLost);
  EXPECT_EQ(ReasonOf(PeerError(InvalidArgument("x"))), kInternal);
  EXPECT_TRUE(PeerError(OkStatus()).ok());
}

}  // namespace
}  // namespace trainyard::worker

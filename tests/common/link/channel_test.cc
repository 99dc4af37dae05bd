#include "common/link/channel.h"

#include "common/rng.h"
#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr ChannelBounds kRoomy = {.messages = 100, .bytes = 10'000, .in_flight = 100};

std::vector<uint64_t> SendAll(Outgoing* out) {
  std::vector<uint64_t> sent;
  while (std::optional<Frame> frame = out->NextToSend()) sent.push_back(frame->sequence);
  return sent;
}

void PushMany(Outgoing* out, int n) {
  for (int i = 0; i < n; ++i) EXPECT_OK(out->Push("message"));
}

TEST(Outgoing, SendsEachMessageOnceInOrderAndForgetsWhatIsAcknowledged) {
  Outgoing out(Channel::kRollouts, kRoomy);
  PushMany(&out, 3);
  EXPECT_THAT(SendAll(&out), ElementsAre(1, 2, 3));
  EXPECT_THAT(SendAll(&out), ElementsAre());
  EXPECT_EQ(out.messages(), 3u);
  EXPECT_OK(out.Acknowledged(2));
  EXPECT_EQ(out.messages(), 1u);
  EXPECT_EQ(out.bytes(), 7u);
  EXPECT_OK(out.Acknowledged(1)) << "late: nothing to do";
  PushMany(&out, 1);
  EXPECT_THAT(SendAll(&out), ElementsAre(4));
}

TEST(Outgoing, SendsAgainAfterAReconnectWhatTheOtherSideHasNotReceived) {
  Outgoing out(Channel::kRollouts, kRoomy);
  PushMany(&out, 4);
  SendAll(&out);
  EXPECT_OK(out.Acknowledged(1));
  EXPECT_OK(out.Reconnected(2));
  EXPECT_THAT(SendAll(&out), ElementsAre(3, 4)) << "2 is received, though not acknowledged";
  EXPECT_OK(out.Reconnected(0));
  EXPECT_THAT(SendAll(&out), ElementsAre(2, 3, 4)) << "another process: it has nothing";
}

TEST(Outgoing, RefusesNumbersThatWereNeverSent) {
  Outgoing out(Channel::kRollouts, kRoomy);
  PushMany(&out, 2);
  EXPECT_THAT(out.Acknowledged(1),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("newest sent")));
  EXPECT_THAT(out.Reconnected(1), StatusIs(StatusCode::kInvalidArgument, HasSubstr("newest sent")));
  EXPECT_EQ(out.messages(), 2u);
}

TEST(Outgoing, HoldsBackWhenTooMuchIsInFlight) {
  Outgoing out(Channel::kTelemetry, {.messages = 100, .bytes = 1000, .in_flight = 2});
  PushMany(&out, 5);
  EXPECT_THAT(SendAll(&out), ElementsAre(1, 2));
  EXPECT_OK(out.Acknowledged(1));
  EXPECT_THAT(SendAll(&out), ElementsAre(3));
}

TEST(ControlChannel, TheNewestReplacesWhatIsOlder) {
  Outgoing out(Channel::kControl);
  EXPECT_OK(out.Push("old"));
  EXPECT_OK(out.Push("new"));
  EXPECT_EQ(out.messages(), 1u);
  const auto frame = out.NextToSend();
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->payload, "new");
  EXPECT_EQ(frame->sequence, 2u);
  EXPECT_EQ(out.NextToSend(), std::nullopt);
}

TEST(RolloutChannel, RefusesWhenFullAndTakesAgainWhenThereIsRoom) {
  Outgoing out(Channel::kRollouts, {.messages = 2, .bytes = 20, .in_flight = 9});
  PushMany(&out, 2);
  EXPECT_THAT(out.Push("x"), StatusIs(StatusCode::kResourceExhausted, HasSubstr("2 rollout")));
  SendAll(&out);
  EXPECT_OK(out.Acknowledged(1));
  EXPECT_THAT(out.Push("fourteen bytes"), StatusIs(StatusCode::kResourceExhausted, HasSubstr("")));
  EXPECT_OK(out.Push("x"));
  EXPECT_THAT(out.Push(std::string(21, 'x')),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("")));
}

TEST(TelemetryChannel, DropsTheOldestAndSaysSo) {
  Outgoing out(Channel::kTelemetry, {.messages = 3, .bytes = 1000, .in_flight = 9});
  PushMany(&out, 5);
  EXPECT_EQ(out.dropped(), 3u);
  EXPECT_EQ(out.messages(), 3u) << "the gap and two messages";
  const auto gap_frame = out.NextToSend();
  ASSERT_TRUE(gap_frame.has_value());
  ASSERT_OK_AND_ASSIGN(const TelemetryGap gap, Decode<TelemetryGap>(gap_frame->payload));
  EXPECT_EQ(gap.first_sequence, 1u);
  EXPECT_EQ(gap.last_sequence, 3u);
  EXPECT_EQ(gap_frame->sequence, 3u);
  EXPECT_THAT(SendAll(&out), ElementsAre(4, 5));
  EXPECT_OK(out.Acknowledged(5));
  EXPECT_EQ(out.messages(), 0u);
  EXPECT_EQ(out.bytes(), 0u);
}

TEST(TelemetryChannel, AGapOfWhatWasAlreadySentIsToldToTheNextProcessOnly) {
  Outgoing out(Channel::kTelemetry, {.messages = 3, .bytes = 1000, .in_flight = 9});
  PushMany(&out, 3);
  SendAll(&out);
  PushMany(&out, 1);
  EXPECT_THAT(SendAll(&out), ElementsAre(4));
  EXPECT_OK(out.Reconnected(0));
  EXPECT_THAT(SendAll(&out), ElementsAre(2, 3, 4)) << "2 is the gap of 1 and 2";
}

TEST(TelemetryChannel, KeepsItsBytesBelowTheBound) {
  Outgoing out(Channel::kTelemetry, {.messages = 1000, .bytes = 100, .in_flight = 9});
  for (int i = 0; i < 50; ++i) {
    EXPECT_OK(out.Push(std::string(30, 'x')));
    EXPECT_LE(out.bytes(), 100u);
  }
  EXPECT_OK(out.Push(std::string(100, 'x')));
  EXPECT_EQ(out.messages(), 2u);
  EXPECT_FALSE(out.Push(std::string(101, 'x')).ok());
}

// Random pushes, sends, connection losses, new receivers and acknowledgements: what a receiver ends
// up with is every message once and in order, gaps counted.
TEST(TelemetryChannel, LosesNothingThatItDoesNotTell) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Rng rng{.seed = seed, .purpose = Purpose::kSample};
    Outgoing out(Channel::kTelemetry, {.messages = 8, .bytes = 10'000, .in_flight = 5});
    Incoming in;
    uint64_t pushed = 0, expected_next = 1;
    const auto deliver = [&](const Frame& frame) {
      const uint64_t before = in.received();
      if (!in.Accept(frame.sequence)) return;
      if (frame.payload == std::to_string(frame.sequence)) {
        EXPECT_EQ(frame.sequence, expected_next) << "seed " << seed;
      } else {
        const TelemetryGap gap = *Decode<TelemetryGap>(frame.payload);
        EXPECT_LE(std::max(gap.first_sequence, before + 1), expected_next);
        EXPECT_EQ(gap.last_sequence, frame.sequence);
      }
      expected_next = frame.sequence + 1;
    };
    for (uint64_t i = 0; i < 300; ++i) {
      switch (rng.Below(6, i, 0)) {
        case 0:
        case 1:
          EXPECT_OK(out.Push(std::to_string(++pushed)));
          break;
        case 2:
        case 3:
          if (const auto frame = out.NextToSend()) deliver(*frame);
          break;
        case 4:
          if (rng.Below(2, i, 1) == 0) {
            out.NextToSend();  // lost with its connection
            EXPECT_OK(out.Reconnected(in.received()));
          }
          break;
        default:
          EXPECT_OK(out.Acknowledged(in.received()));
      }
    }
    EXPECT_OK(out.Acknowledged(in.received()));
    while (const auto frame = out.NextToSend()) {
      deliver(*frame);
      EXPECT_OK(out.Acknowledged(in.received()));
    }
    EXPECT_EQ(expected_next, pushed + 1) << "seed " << seed;
    EXPECT_EQ(out.messages(), 0u);
  }
}

TEST(Incoming, DropsRepeatedMessages) {
  Incoming in;
  EXPECT_TRUE(in.Accept(1));
  EXPECT_FALSE(in.Accept(1));
  EXPECT_TRUE(in.Accept(5));
  EXPECT_FALSE(in.Accept(3));
  EXPECT_EQ(in.received(), 5u);
}

}  // namespace
}  // namespace trainyard::link

#include "common/link/endpoint.h"

#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// Carries everything that `from` has to say to `to`; the payloads that were new there.
std::vector<std::string> Carry(Endpoint* from, Endpoint* to) {
  std::vector<std::string> delivered;
  while (std::optional<Frame> frame = from->NextFrame()) {
    const auto delivery = to->Receive(*std::move(frame));
    EXPECT_OK(delivery);
    if (delivery.ok() && delivery->has_value()) delivered.push_back((*delivery)->payload);
  }
  return delivered;
}

TEST(Endpoint, CarriesChannelsControlFirstAndForgetsWhatIsAcknowledged) {
  Endpoint trainer, agent;
  EXPECT_OK(trainer.Push(Channel::kTelemetry, "points"));
  EXPECT_OK(trainer.Push(Channel::kControl, "status"));
  EXPECT_THAT(Carry(&trainer, &agent), ElementsAre("status", "points"));
  agent.Acknowledge(Channel::kTelemetry, 1);
  agent.Acknowledge(Channel::kControl, 1);
  EXPECT_THAT(Carry(&agent, &trainer), ElementsAre());
  EXPECT_EQ(trainer.outgoing(Channel::kTelemetry).messages(), 0u);
  EXPECT_EQ(trainer.outgoing(Channel::kControl).messages(), 0u);
}

TEST(Endpoint, GivesTheSameAgentOnlyWhatItMissedAndANewOneAllThatIsNotSafe) {
  Endpoint trainer, agent;
  for (const char* message : {"1", "2", "3"}) EXPECT_OK(trainer.Push(Channel::kTelemetry, message));
  EXPECT_THAT(Carry(&trainer, &agent), ElementsAre("1", "2", "3"));
  agent.Acknowledge(Channel::kTelemetry, 1);
  Carry(&agent, &trainer);
  EXPECT_OK(trainer.Push(Channel::kTelemetry, "4"));
  EXPECT_OK(trainer.Reconnected(agent.received()));
  EXPECT_THAT(Carry(&trainer, &agent), ElementsAre("4"));
  Endpoint next_agent;
  EXPECT_OK(trainer.Reconnected(next_agent.received()));
  EXPECT_THAT(Carry(&trainer, &next_agent), ElementsAre("2", "3", "4"));
}

TEST(Endpoint, ANewPeersNumbersStartAgain) {
  Endpoint trainer, agent;
  EXPECT_OK(agent.Push(Channel::kControl, "a"));
  EXPECT_OK(agent.Push(Channel::kControl, "b"));
  EXPECT_THAT(Carry(&agent, &trainer), ElementsAre("b"));
  trainer.Acknowledge(Channel::kControl, 2);
  Endpoint next_agent;
  EXPECT_OK(next_agent.Push(Channel::kControl, "c"));
  trainer.ForgetPeer();
  EXPECT_THAT(trainer.received(), testing::Contains(Pair(Channel::kControl, 0)));
  EXPECT_THAT(Carry(&next_agent, &trainer), ElementsAre("c"));
  EXPECT_THAT(Carry(&trainer, &next_agent), ElementsAre()) << "no acknowledgement of the old one";
}

TEST(Endpoint, AnImpossibleAcknowledgementIsAnErrorAndChangesNothing) {
  Endpoint trainer;
  EXPECT_OK(trainer.Push(Channel::kTelemetry, "1"));
  const auto receive = [&](const std::string& payload) {
    return trainer.Receive({.channel = Channel::kLink, .payload = payload}).status();
  };
  EXPECT_THAT(receive(Encode(Ack{.channel = Channel::kTelemetry, .sequence = 1})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("the newest sent is 0")));
  EXPECT_THAT(receive(Encode(Ack{.channel = Channel::kLink, .sequence = 0})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("link")));
  EXPECT_THAT(receive("x"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("CBOR")));
  EXPECT_EQ(trainer.outgoing(Channel::kTelemetry).messages(), 1u);
}

}  // namespace
}  // namespace trainyard::link

#include "common/link/messages.h"

#include <cmath>
#include <limits>

#include "common/link/cbor.h"
#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::HasSubstr;

RankStatus FullStatus() {
  RankStatus status{.job = JobId{"shakespeare-x7k2q"},
                    .attempt = 3,
                    .rank = 1,
                    .phase = Phase::kEvaluating,
                    .doing = "reading weights, 120 of 538 MB",
                    .step = 400,
                    .beat = int64_t{1} << 40,
                    .waiting_for_coordinator = true,
                    .collective_sequence = 12,
                    .listen_address = "127.0.0.1:4711",
                    .step_seconds_p99 = 0.25};
  status.prepared = {
      {.name = "tokenizer.json", .key = "prepared/ab", .sha256 = "ab", .size_bytes = 7}};
  status.checkpoint = {
      .step = 400, .key = "checkpoints/j/s", .manifest_digest = "cd", .size_bytes = 9};
  status.checkpoint_failure = {.step = 300, .message = "disk full"};
  status.outcome = {
      .kind = OutcomeKind::kFailed, .code = "DATA_LOSS", .reason = "R", .message = "m"};
  return status;
}

TEST(Messages, ARankStatusComesBackAsItWas) {
  ASSERT_OK_AND_ASSIGN(const RankStatus full, Decode<RankStatus>(Encode(FullStatus())));
  EXPECT_EQ(full, FullStatus());
  ASSERT_OK_AND_ASSIGN(const RankStatus empty, Decode<RankStatus>(Encode(RankStatus{})));
  EXPECT_EQ(empty, RankStatus{});
}

TEST(Messages, ADirectiveComesBackAsItWas) {
  const Directive full{.job = JobId{"a-1"},
                       .attempt = 2,
                       .prepared = std::vector<PreparedFile>{},
                       .peers = {"10.0.0.1:1", "10.0.0.2:2"},
                       .attempt_secret = "s",
                       .resume = ResumePoint{.step = 5, .key = "k", .manifest_digest = "d"},
                       .recorded_step = 5,
                       .stop = StopMode::kCheckpoint};
  EXPECT_EQ(*Decode<Directive>(Encode(full)), full) << "prepared: recorded, though empty";
  EXPECT_EQ(*Decode<Directive>(Encode(Directive{})), Directive{});
}

TEST(Messages, TheLinkLevelOnesComeBackAsTheyWere) {
  const Challenge challenge{.nonce = "n", .job = JobId{"j"}, .attempt = 1, .rank = 2, .pid = 3};
  EXPECT_EQ(Decode<Challenge>(Encode(challenge))->pid, 3);
  const Hello hello{.proof = "p", .agent = "a", .received = {{Channel::kTelemetry, 7}}};
  EXPECT_EQ(Decode<Hello>(Encode(hello))->received, hello.received);
  const Ack ack{.channel = Channel::kRollouts, .sequence = std::numeric_limits<uint64_t>::max()};
  ASSERT_OK_AND_ASSIGN(const Ack back, Decode<Ack>(Encode(ack)));
  EXPECT_EQ(back.channel, Channel::kRollouts);
  EXPECT_EQ(back.sequence, ack.sequence);
}

TEST(Messages, TelemetryKeepsNanAndSaysWhichKindItIs) {
  MetricPoints points;
  points.points.push_back({.step = 1, .name = "loss", .value = std::nan(""), .wall_time = 1.75e9});
  points.points.push_back({.step = 1, .name = "grad_norm", .value = INFINITY, .wall_time = 1.75e9});
  ASSERT_OK_AND_ASSIGN(const Telemetry back, DecodeTelemetry(Encode(points)));
  const auto& read = std::get<MetricPoints>(back).points;
  EXPECT_TRUE(std::isnan(read[0].value));
  EXPECT_EQ(read[1].value, INFINITY);
  EXPECT_EQ(read[0].wall_time, 1.75e9);
  const TrainerEvent event{.wall_time = 1, .type = "STEP_SKIPPED", .message = "m"};
  EXPECT_EQ(std::get<TrainerEvent>(*DecodeTelemetry(Encode(event))).type, "STEP_SKIPPED");
  const TelemetryGap gap{.first_sequence = 3, .last_sequence = 9};
  EXPECT_EQ(std::get<TelemetryGap>(*DecodeTelemetry(Encode(gap))).last_sequence, 9u);
  EXPECT_THAT(DecodeTelemetry(Encode(RankStatus{})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("rank_status")));
}

// The status as JSON with one change, as CBOR again.
std::string Changed(const std::function<void(nlohmann::ordered_json&)>& change) {
  nlohmann::ordered_json json = *ParseCbor(Encode(FullStatus()));
  change(json);
  return ToCbor(json);
}

TEST(Messages, EveryWrongFieldIsNamed) {
  using Json = nlohmann::ordered_json;
  const std::vector<std::pair<std::function<void(Json&)>, const char*>> cases = {
      {[](Json& j) { j.erase("step"); }, "rank_status.step: missing"},
      {[](Json& j) { j["step"] = "4"; }, "rank_status.step: wants an integer"},
      {[](Json& j) { j["step"] = 4.5; }, "rank_status.step: wants an integer"},
      {[](Json& j) { j["attempt"] = 1LL << 40; }, "rank_status.attempt: out of range"},
      {[](Json& j) { j["attempt"] = -(1LL << 40); }, "rank_status.attempt: out of range"},
      {[](Json& j) { j["step"] = ~0ULL; }, "rank_status.step: out of range"},
      {[](Json& j) { j["phase"] = "sleeping"; }, "rank_status.phase: wants one of starting | "},
      {[](Json& j) { j["phase"] = 3; }, "rank_status.phase: wants one of"},
      {[](Json& j) { j["job"] = 3; }, "rank_status.job: wants a text"},
      {[](Json& j) { j["job"] = std::string(70'000, 'a'); }, "rank_status.job: too long"},
      {[](Json& j) { j["job"] = "\xff"; }, "not valid UTF-8"},
      {[](Json& j) { j["waiting_for_coordinator"] = 1; }, "wants true or false"},
      {[](Json& j) { j["step_seconds_p99"] = "x"; }, "wants a number"},
      {[](Json& j) { j["prepared"] = 1; }, "rank_status.prepared: wants a list"},
      {[](Json& j) { j["prepared"][0].erase("key"); }, "rank_status.prepared[0].key: missing"},
      {[](Json& j) { j["outcome"] = 1; }, "rank_status.outcome: wants a map"},
      {[](Json& j) { j["is"] = "directive"; }, "is: wants rank_status, found \"directive\""},
      {[](Json& j) { j = Json::array(); }, "a message is a CBOR map"},
  };
  for (const auto& [change, message] : cases) {
    EXPECT_THAT(Decode<RankStatus>(Changed(change)),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(message)));
  }
}

TEST(Messages, UnknownFieldsAreIgnoredSinceTheOtherSideMayBeNewer) {
  ASSERT_OK_AND_ASSIGN(const RankStatus status, Decode<RankStatus>(Changed([](auto& json) {
                         json["from_the_future"] = {{"x", 1}};
                       })));
  EXPECT_EQ(status, FullStatus());
}

TEST(Messages, AnErrorThatQuotesAnythingCanStillBeSent) {
  RankStatus status;
  status.outcome = FailedOutcome(WithReason(DataLoss("bad \xff byte"), "BAD_INPUT"));
  ASSERT_OK_AND_ASSIGN(const RankStatus back, Decode<RankStatus>(Encode(status)));
  EXPECT_EQ(back.outcome->message, "bad ? byte");
  EXPECT_EQ(back.outcome->code, "DATA_LOSS");
  EXPECT_EQ(back.outcome->reason, "BAD_INPUT");
}

TEST(Messages, NamesOfModesAndPhases) {
  EXPECT_EQ(PhaseName(Phase::kFinishing), "finishing");
  EXPECT_EQ(OutcomeKindName(OutcomeKind::kStopped), "stopped");
  EXPECT_EQ(ParseStopMode(StopModeName(StopMode::kCheckpoint)), StopMode::kCheckpoint);
  EXPECT_EQ(ParseStopMode("later"), std::nullopt);
}

}  // namespace
}  // namespace trainyard::link

#include "common/wire/values.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::HasSubstr;

TEST(WireTime, ComesBackToTheNanosecond) {
  const absl::Time time = absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(123'456'789);
  ASSERT_TRUE(ToProto(time).has_value());
  ASSERT_OK_AND_ASSIGN(const absl::Time back, TimeFromProto(*ToProto(time)));
  EXPECT_EQ(back, time);
  const absl::Time early = absl::FromUnixSeconds(-5) + absl::Nanoseconds(1);
  EXPECT_EQ(*TimeFromProto(*ToProto(early)), early);
}

TEST(WireTime, WhatHasNotHappenedIsLeftOut) {
  EXPECT_FALSE(ToProto(absl::InfiniteFuture()).has_value());
  EXPECT_FALSE(ToProto(absl::InfinitePast()).has_value());
}

TEST(WireTime, NonsenseIsRefused) {
  google::protobuf::Timestamp time;
  time.set_nanos(-1);
  EXPECT_THAT(TimeFromProto(time), StatusIs(StatusCode::kInvalidArgument, HasSubstr("-1 ns")));
  time.set_nanos(0);
  time.set_seconds(int64_t{1} << 62);
  EXPECT_THAT(TimeFromProto(time), StatusIs(StatusCode::kInvalidArgument, HasSubstr("year")));
}

TEST(ResourceName, IsAnIdOrAPath) {
  EXPECT_EQ(ParseResourceName("shakespeare")->job, "shakespeare");
  EXPECT_EQ(ParseResourceName("shakespeare")->project, "default");
  EXPECT_EQ(ParseResourceName(JobName("p", "j"))->project, "p");
  ASSERT_OK_AND_ASSIGN(const ResourceName name, ParseResourceName(CheckpointName("p", "j", 400)));
  EXPECT_EQ(name.job, "j");
  EXPECT_EQ(name.collection, "checkpoints");
  EXPECT_EQ(name.item, "400");
  EXPECT_EQ(ParseResourceName(AttemptName("p", "j", 2))->collection, "attempts");
}

TEST(ResourceName, AnythingElseSaysWhatIsWanted) {
  for (const char* bad : {"", "/", "projects/p", "projects/p/jobs/", "projects//jobs/j", "a/b",
                          "projects/p/jobs/j/ranks/0", "projects/p/jobs/j/checkpoints",
                          "projects/p/jobs/j/checkpoints/1/2", "workers/w/jobs/j"}) {
    const auto name = ParseResourceName(bad);
    EXPECT_THAT(name, StatusIs(StatusCode::kInvalidArgument, HasSubstr("projects/"))) << bad;
    EXPECT_EQ(ReasonOf(name.status()), "BAD_NAME");
  }
}

}  // namespace
}  // namespace trainyard

#include "common/wire/status.h"

#include <gmock/gmock.h>

#include "google/rpc/error_details.pb.h"
#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::HasSubstr;

TEST(WireStatus, ComesBackAsItWent) {
  const Status sent = WithField(
      WithReason(NotFound("there is no job {:?}", "shakespeer"), "JOB_NOT_FOUND"), "name");
  const Status back = FromGrpc(ToGrpc(sent));
  EXPECT_EQ(back.code(), StatusCode::kNotFound);
  EXPECT_EQ(MessageOf(back), MessageOf(sent));
  EXPECT_EQ(ReasonOf(back), "JOB_NOT_FOUND");
  EXPECT_EQ(FieldOf(back), "name");
}

TEST(WireStatus, EveryCodeKeepsItsMeaning) {
  for (int code = 1; code <= 16; ++code) {
    const Status sent(static_cast<StatusCode>(code), "what happened");
    EXPECT_EQ(FromGrpc(ToGrpc(sent)), sent);
  }
  EXPECT_OK(FromGrpc(ToGrpc(OkStatus())));
}

TEST(WireStatus, IsReadableByOtherPeoplesErrorHelpers) {
  const grpc::Status wire = ToGrpc(WithReason(Unavailable("later"), "DRAINING"));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(wire.error_details()));
  EXPECT_EQ(details.code(), 14);
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "DRAINING");
  EXPECT_EQ(info.domain(), "trainyard");
}

TEST(WireStatus, ForeignDetailsAreNotBelieved) {
  google::rpc::ErrorInfo info;
  info.set_reason("QUOTA");
  info.set_domain("somebody.else");
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  const Status back = FromGrpc(
      grpc::Status(grpc::StatusCode::INTERNAL, "their words", details.SerializeAsString()));
  EXPECT_EQ(ReasonOf(back), ReasonOf(Internal("x")));
  EXPECT_THAT(FromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "noise", "\xff\xff garbage")),
              StatusIs(StatusCode::kInternal, HasSubstr("noise")));
}

TEST(WireStatus, ALongMessageIsCutRatherThanLost) {
  const grpc::Status wire = ToGrpc(InvalidArgument("{}", std::string(100'000, 'x')));
  EXPECT_LT(wire.error_message().size(), 3000u);
  EXPECT_LT(wire.error_details().size(), 4000u);
}

}  // namespace
}  // namespace trainyard

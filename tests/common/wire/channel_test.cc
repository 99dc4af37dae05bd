#include "common/wire/channel.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "common/files.h"
#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::HasSubstr;

class TokenFile : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(testing::TempDir()) / ("token-" + RandomHex(8));
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void Write(const std::string& text, mode_t mode) {
    std::ofstream(path_) << text;
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
  }
  std::filesystem::path path_;
};

TEST_F(TokenFile, IsReadWithoutItsLineEnd) {
  const std::string token(64, 'a');
  Write(token + "\n", 0600);
  ASSERT_OK_AND_ASSIGN(const std::string read, ReadTokenFile(path_));
  EXPECT_EQ(read, token);
}

TEST_F(TokenFile, ThatOthersMayReadIsRefused) {
  Write(std::string(64, 'a'), 0640);
  EXPECT_THAT(ReadTokenFile(path_), StatusIs(StatusCode::kPermissionDenied, HasSubstr("chmod")));
}

TEST_F(TokenFile, MustHoldAToken) {
  EXPECT_THAT(ReadTokenFile(path_), StatusIs(StatusCode::kNotFound, HasSubstr(path_.string())));
  Write("short\n", 0600);
  EXPECT_THAT(ReadTokenFile(path_), StatusIs(StatusCode::kInvalidArgument, HasSubstr("token")));
}

TEST(Loopback, IsToldByDigitsNotByLooks) {
  for (const char* yes : {"127.0.0.1:7077", "localhost:1", "[::1]:0", "127.3.2.1:80"})
    EXPECT_TRUE(IsLoopback(yes)) << yes;
  for (const char* no : {"0.0.0.0:7077", "[::]:0", "10.0.0.1:7077", "127.evil.example:80",
                         "localhost.example:1", ":7077", ""})
    EXPECT_FALSE(IsLoopback(no)) << no;
}

TEST(Channel, LeavesThisMachineOnlyWithTls) {
  EXPECT_THAT(OpenChannel({.address = "coordinator.example:7077"}),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("TLS")));
  EXPECT_OK(OpenChannel({.address = "127.0.0.1:7077"}));
  EXPECT_OK(OpenChannel({.address = "10.0.0.1:7077", .insecure_i_understand = true}));
  EXPECT_THAT(MakeServerCredentials("0.0.0.0:7077", {}, false),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("0.0.0.0")));
  EXPECT_OK(MakeServerCredentials("127.0.0.1:0", {}, false));
}

TEST(Channel, NamesTheTlsFileThatIsWrong) {
  EXPECT_THAT(OpenChannel({.address = "127.0.0.1:1", .tls = {.ca = "/nonexistent/ca.pem"}}),
              StatusIs(StatusCode::kNotFound, HasSubstr("/nonexistent/ca.pem")));
  EXPECT_THAT(OpenChannel({.address = "127.0.0.1:1", .tls = {.ca = "/etc/passwd"}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("PEM")));
  EXPECT_THAT(MakeServerCredentials("127.0.0.1:0", {.ca = "/etc/passwd"}, false),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("key")));
}

}  // namespace
}  // namespace trainyard

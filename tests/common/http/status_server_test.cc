#include "common/http/status_server.h"

#include <gmock/gmock.h>
#include <httplib.h>

#include <atomic>

#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class StatusServerTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(server_, StatusServer::Start(Options()));
    client_ = std::make_unique<httplib::Client>("http://" + server_->address());
  }

  StatusServerOptions Options() {
    return {.address = "127.0.0.1:0",
            .next_free_port = false,
            .metrics = [] { return std::string("up 1\n"); },
            .ready = [this] { return ready_ ? OkStatus() : Unavailable("the store is loading"); },
            .may_read_metrics = [](const std::string& token) { return token == "secret"; }};
  }

  std::atomic<bool> ready_ = true;
  std::unique_ptr<StatusServer> server_;
  std::unique_ptr<httplib::Client> client_;
};

TEST_F(StatusServerTest, HealthIsOpenAndReadinessSaysWhyNot) {
  EXPECT_EQ(client_->Get("/healthz")->body, "ok\n");
  EXPECT_EQ(client_->Get("/readyz")->status, 200);
  ready_ = false;
  EXPECT_EQ(client_->Get("/readyz")->status, 503);
  EXPECT_THAT(client_->Get("/readyz")->body, HasSubstr("the store is loading"));
}

TEST_F(StatusServerTest, MetricsNeedTheToken) {
  EXPECT_EQ(client_->Get("/metrics")->status, 401);
  EXPECT_EQ(client_->Get("/metrics", {{"Authorization", "Bearer wrong"}})->status, 401);
  EXPECT_EQ(client_->Get("/metrics", {{"Authorization", "Bearer secret"}})->body, "up 1\n");
}

TEST_F(StatusServerTest, ATakenPortIsAnErrorOrTheNextOne) {
  StatusServerOptions options = Options();
  options.address = server_->address();
  EXPECT_THAT(StatusServer::Start(options), StatusIs(StatusCode::kUnavailable, HasSubstr("taken")));
  options.next_free_port = true;
  ASSERT_OK_AND_ASSIGN(const auto second, StatusServer::Start(options));
  EXPECT_THAT(second->address(), StartsWith("127.0.0.1:"));
  EXPECT_NE(second->address(), server_->address());
}

TEST_F(StatusServerTest, ThePortOfALastLifeIsTakenAgainIfItIsFree) {
  StatusServerOptions options = Options();
  options.address = server_->address();
  options.next_free_port = true;
  ASSERT_OK_AND_ASSIGN(auto second, StatusServer::Start(options));
  const std::string address = second->address();
  second.reset();
  options.last_port = std::stoi(address.substr(address.rfind(':') + 1));
  ASSERT_OK_AND_ASSIGN(second, StatusServer::Start(options));
  EXPECT_EQ(second->address(), address);
  ASSERT_OK_AND_ASSIGN(const auto third, StatusServer::Start(options));
  EXPECT_NE(third->address(), address) << "it is taken: another one";
}

TEST(StatusServer, RefusesAnAddressThatIsNone) {
  for (const char* address : {"", "localhost", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999"}) {
    StatusServerOptions options;
    options.address = address;
    EXPECT_THAT(StatusServer::Start(options),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("HOST:PORT")))
        << address;
  }
}

}  // namespace
}  // namespace trainyard

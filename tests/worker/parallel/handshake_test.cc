#include "worker/parallel/handshake.h"

#include <gmock/gmock.h>

#include "common/files.h"
#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

constexpr char kSecret[] = "0123456789abcdef";

// Carries messages both ways until both are done or one complains.
Status Carry(Handshake& dialer, Handshake& acceptor) {
  while (!dialer.done() || !acceptor.done()) {
    const std::string out = dialer.TakeOutput();
    if (!out.empty()) RETURN_IF_ERROR(Annotate(acceptor.Receive(out), "acceptor"));
    const std::string back = acceptor.TakeOutput();
    if (!back.empty()) RETURN_IF_ERROR(Annotate(dialer.Receive(back), "dialer"));
  }
  return OkStatus();
}

TEST(Handshake, IntroducesTwoRanksThatKnowTheSecret) {
  Handshake dialer = Handshake::Dial(kSecret, 2, 0, 3);
  Handshake acceptor = Handshake::Accept(kSecret, 0, 3, "12 34 token");
  ASSERT_OK(Carry(dialer, acceptor));
  EXPECT_EQ(acceptor.peer(), 2);
  EXPECT_EQ(dialer.peer(), 0);
  EXPECT_EQ(dialer.note(), "12 34 token");
}

TEST(Handshake, RefusesADialerWithAnotherSecret) {
  Handshake dialer = Handshake::Dial("another secret!!", 1, 0, 2);
  Handshake acceptor = Handshake::Accept(kSecret, 0, 2, "");
  EXPECT_THAT(Carry(dialer, acceptor),
              StatusIs(StatusCode::kUnauthenticated, HasSubstr("acceptor")));
  EXPECT_FALSE(acceptor.done());
}

TEST(Handshake, RefusesAnAcceptorThatCannotProveItself) {
  Handshake dialer = Handshake::Dial(kSecret, 1, 0, 2);
  Handshake acceptor = Handshake::Accept(kSecret, 0, 2, "note");
  ASSERT_OK(acceptor.Receive(dialer.TakeOutput()));
  ASSERT_OK(dialer.Receive(acceptor.TakeOutput()));
  ASSERT_OK(acceptor.Receive(dialer.TakeOutput()));
  std::string welcome = acceptor.TakeOutput();
  welcome[64] = 'N';  // the note is covered too
  EXPECT_THAT(dialer.Receive(welcome), StatusIs(StatusCode::kUnauthenticated, HasSubstr("secret")));
}

TEST(Handshake, RefusesItsOwnWordsSentBack) {
  // Somebody relays rank 1's dialling back to rank 1, which also accepts.
  Handshake dialer = Handshake::Dial(kSecret, 1, 0, 2);
  Handshake acceptor = Handshake::Accept(kSecret, 1, 2, "");
  EXPECT_FALSE(Carry(dialer, acceptor).ok());
}

TEST(Handshake, RefusesAnotherProtocol) {
  Handshake acceptor = Handshake::Accept(kSecret, 0, 2, "");
  std::string hello = "GET / HTTP/1.1\r\n";
  hello.resize(acceptor.wanted(), 'x');
  EXPECT_THAT(acceptor.Receive(hello),
              StatusIs(StatusCode::kUnauthenticated, HasSubstr("protocol")));
}

TEST(Handshake, SaysWhenRanksDisagreeAboutTheirList) {
  Handshake dialer = Handshake::Dial(kSecret, 2, 0, 3);
  Handshake acceptor = Handshake::Accept(kSecret, 0, 2, "");
  EXPECT_THAT(Carry(dialer, acceptor), StatusIs(StatusCode::kInvalidArgument,
                                                HasSubstr("rank 2 of 3, this is rank 0 of 2")));
}

}  // namespace
}  // namespace trainyard::worker

#include "common/tensorboard.h"

#include <gmock/gmock.h>

#include "common/crc32c.h"

namespace trainyard {
namespace {

// RFC 3720, appendix B.4.
TEST(Crc32c, AgreesWithTheVectorsOfTheRfc) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  std::string up, down;
  for (int i = 0; i < 32; ++i) {
    up.push_back(static_cast<char>(i));
    down.push_back(static_cast<char>(31 - i));
  }
  EXPECT_EQ(Crc32c(up), 0x46DD794Eu);
  EXPECT_EQ(Crc32c(down), 0x113FDB5Cu);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

// Record layout and field numbers as tensorboard.h cites them; wall time 1.0.
TEST(TensorBoard, BeginsWithTheVersionRecord) {
  TensorBoardEvents events(1.0);
  const std::string bytes = events.Take();
  ASSERT_EQ(bytes.size(), 8u + 4 + 24 + 4);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x18\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(bytes.substr(12, 9), std::string("\x09\0\0\0\0\0\0\xf0\x3f", 9));
  EXPECT_EQ(bytes.substr(21, 15),
            "\x1a\x0d"
            "brain.Event:2");
  EXPECT_EQ(events.Take(), "");
}

TEST(TensorBoard, WritesAScalarAsTheEventProtoSays) {
  TensorBoardEvents events(1.0);
  events.Take();
  events.Add("loss", 300, 0.5, 2.0);
  const std::string bytes = events.Take();
  const std::string data = std::string("\x09\0\0\0\0\0\0\0\x40", 9) + "\x10\xac\x02" +
                           "\x2a\x0d"
                           "\x0a\x0b"
                           "\x0a\x04loss" +
                           std::string("\x15\0\0\0\x3f", 5);
  ASSERT_EQ(bytes.size(), 8 + 4 + data.size() + 4);
  EXPECT_EQ(bytes.substr(12, data.size()), data);
}

}  // namespace
}  // namespace trainyard

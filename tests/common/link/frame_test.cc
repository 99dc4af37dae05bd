#include "common/link/frame.h"

#include "common/rng.h"
#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::HasSubstr;

Frame Example() { return {.channel = Channel::kTelemetry, .sequence = 77, .payload = "payload"}; }

Status ErrorOf(const std::string& bytes, uint32_t max_payload = kMaxPayloadBytes) {
  FrameReader reader(max_payload);
  reader.Append(bytes);
  return reader.Next().status();
}

TEST(Frame, ComesBackWhateverThePiecesItArrivesIn) {
  const std::string bytes = EncodeFrame(Example()) + EncodeFrame({.channel = Channel::kLink});
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    FrameReader reader;
    std::vector<Frame> frames;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      reader.Append(std::string_view(bytes).substr(at, piece));
      while (true) {
        ASSERT_OK_AND_ASSIGN(std::optional<Frame> frame, reader.Next());
        if (!frame.has_value()) break;
        frames.push_back(*std::move(frame));
      }
    }
    ASSERT_EQ(frames.size(), 2u);
    EXPECT_EQ(frames[0].channel, Channel::kTelemetry);
    EXPECT_EQ(frames[0].sequence, 77u);
    EXPECT_EQ(frames[0].payload, "payload");
    EXPECT_EQ(frames[1].payload, "");
    EXPECT_EQ(reader.pending_bytes(), 0u);
  }
}

TEST(Frame, HasTheLayoutThatItsHeaderDraws) {
  const std::string bytes = EncodeFrame(Example());
  EXPECT_EQ(bytes.substr(0, 20),
            std::string("TYL1\x01\x00\x02\x00\x4d\0\0\0\0\0\0\0\x07\0\0\0", 20));
  EXPECT_EQ(bytes.size(), kFrameHeaderBytes + 7);
}

TEST(Frame, EveryBrokenRuleIsNamed) {
  const auto with = [](size_t at, char value) {
    std::string bytes = EncodeFrame(Example());
    bytes[at] = value;
    return ErrorOf(bytes);
  };
  const auto says = [](const char* rule) {
    return StatusIs(StatusCode::kInvalidArgument, HasSubstr(rule));
  };
  EXPECT_THAT(with(0, 'X'), says("does not start with TYL1"));
  EXPECT_THAT(with(4, 2), says("version 2, this build speaks 1"));
  EXPECT_THAT(with(6, 9), says("channel 9 does not exist"));
  EXPECT_THAT(with(7, 1), says("flags 0x1 are not known"));
  EXPECT_THAT(with(8, 0), says("sequence 0 on channel 2"));
  EXPECT_THAT(with(6, 0), says("sequence 77 on channel 0"));
  EXPECT_THAT(with(19, 0x7f), says("at most 16777216 are allowed"));
  EXPECT_THAT(with(9, 1), says("checksum"));
  EXPECT_THAT(with(21, 1), says("checksum"));
  EXPECT_THAT(with(kFrameHeaderBytes, 'q'), says("checksum"));
  EXPECT_THAT(ErrorOf(EncodeFrame(Example()), 6), says("7 bytes of payload, at most 6"));
}

TEST(Frame, ATooLongOneIsRefusedBeforeItsPayloadArrives) {
  std::string header = EncodeFrame(Example()).substr(0, kFrameHeaderBytes);
  header[19] = 0x02;  // 32 MiB
  EXPECT_FALSE(ErrorOf(header).ok());
}

TEST(Frame, AfterAnErrorTheReaderStaysInError) {
  FrameReader reader;
  reader.Append(std::string(kFrameHeaderBytes, 'x'));
  EXPECT_FALSE(reader.Next().ok());
  reader.Append(EncodeFrame(Example()));
  EXPECT_FALSE(reader.Next().ok());
}

TEST(Frame, NoFlippedBitPasses) {
  const std::string good = EncodeFrame(Example());
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    FrameReader reader;
    reader.Append(bytes);
    const auto frame = reader.Next();
    // A longer length waits for more bytes; all else is refused.
    EXPECT_TRUE(!frame.ok() || !frame->has_value()) << bit;
  }
}

TEST(Frame, GarbageIsRefusedOrWaitedForButNeverRead) {
  const Rng rng{.seed = 5, .purpose = Purpose::kSample};
  for (uint64_t i = 0; i < 5'000; ++i) {
    std::string bytes(rng.Below(100, i, 0), '\0');
    for (size_t at = 0; at < bytes.size(); ++at) {
      bytes[at] = static_cast<char>(rng.Below(256, i, at + 1));
    }
    if (i % 2 == 0) bytes = EncodeFrame(Example()).substr(0, 8) + bytes;
    FrameReader reader;
    reader.Append(bytes);
    const auto frame = reader.Next();
    EXPECT_TRUE(!frame.ok() || !frame->has_value());
  }
}

}  // namespace
}  // namespace trainyard::link

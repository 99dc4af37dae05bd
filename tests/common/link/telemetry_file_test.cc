#include "common/link/telemetry_file.h"

#include <filesystem>

#include "common/files.h"
#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::HasSubstr;

TEST(TelemetryFile, GivesBackWhatWasUnsentAndTheGoodPartOfADamagedFile) {
  const auto folder = std::filesystem::path(testing::TempDir()) / ("telemetry-" + RandomHex(4));
  ASSERT_OK(MakeFolders(folder));
  const auto path = folder / "unsent";
  std::vector<Frame> frames;
  for (uint64_t i = 4; i < 7; ++i) {
    const TrainerEvent event{.wall_time = 1, .type = "T", .message = std::to_string(i)};
    frames.push_back({.channel = Channel::kTelemetry, .sequence = i, .payload = Encode(event)});
  }
  ASSERT_OK(WriteTelemetryFile(path, frames));
  ASSERT_OK_AND_ASSIGN(const auto all, ReadTelemetryFile(path));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].sequence, 6u);
  EXPECT_EQ(std::get<TrainerEvent>(all[2].message).message, "6");

  std::string bytes = *ReadFile(path);
  bytes.resize(bytes.size() - 1);
  ASSERT_OK(WriteFileAtomically(path, bytes));
  EXPECT_EQ(ReadTelemetryFile(path)->size(), 2u);
  bytes[0] = 'X';
  ASSERT_OK(WriteFileAtomically(path, bytes));
  EXPECT_THAT(ReadTelemetryFile(path), StatusIs(StatusCode::kDataLoss, HasSubstr("TYL1")));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace trainyard::link

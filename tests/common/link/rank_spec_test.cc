#include "common/link/rank_spec.h"

#include <filesystem>

#include "common/files.h"
#include "common/job_spec/json.h"
#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::HasSubstr;

RankSpec TwoRanks() {
  RankSpec spec{.job = JobId{"a-12345"}, .attempt = 4, .rank = 1};
  spec.ranks = {
      {.rank = 0, .worker = WorkerId{"worker-0"}},
      {.rank = 1, .worker = WorkerId{"worker-1"}, .slot = 2, .share = 0.5, .mesh = {.data = 1}}};
  spec.spec.name = "a";
  spec.spec.train.max_steps = 7;
  spec.spec.model.config = {{"hidden_size", "64"}};
  spec.blob_root = "/b";
  spec.work_dir = "/w";
  spec.socket_path = "/w/s";
  spec.bind_address = "127.0.0.1";
  return spec;
}

TEST(RankSpec, ComesBackFromItsFile) {
  const auto folder = std::filesystem::path(testing::TempDir()) / ("rank-" + RandomHex(4));
  ASSERT_OK(MakeFolders(folder));
  ASSERT_OK(WriteRankSpec(folder / "rank.json", TwoRanks()));
  ASSERT_OK_AND_ASSIGN(const RankSpec back, ReadRankSpec(folder / "rank.json"));
  EXPECT_EQ(back.ranks, TwoRanks().ranks);
  EXPECT_EQ(back.attempt, 4);
  EXPECT_EQ(back.work_dir, "/w");
  EXPECT_EQ(JobSpecToJson(back.spec), JobSpecToJson(TwoRanks().spec));
  std::filesystem::remove_all(folder);
}

TEST(RankSpec, NamesWhatIsWrong) {
  const auto refused = [](const std::string& from, const std::string& to) {
    std::string text = RankSpecToJsonText(TwoRanks());
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return RankSpecFromJsonText(text.replace(at, from.size(), to)).status();
  };
  const auto says = [](const char* what) {
    return StatusIs(StatusCode::kInvalidArgument, HasSubstr(what));
  };
  EXPECT_THAT(refused("\"version\": 1", "\"version\": 2"), says("this build reads 1, found 2"));
  EXPECT_THAT(refused("\"rank\": 1,\n  \"ranks\"", "\"rank\": 2,\n  \"ranks\""),
              says("rank_spec.rank: 2 is not one of 2 ranks"));
  EXPECT_THAT(refused("\"rank\": 0", "\"rank\": 1"), says("rank_spec.ranks[0].rank: wants 0"));
  EXPECT_THAT(refused("\"blob_root\"", "\"blob\""), says("rank_spec.blob_root: missing"));
  EXPECT_THAT(refused("\"max_steps\"", "\"max_step\""),
              says("rank_spec.spec: train.max_step: unknown field; did you mean max_steps?"));
  EXPECT_THAT(RankSpecFromJsonText("{"), says("not JSON"));
  EXPECT_THAT(RankSpecFromJsonText("[]"), says("wants a map"));
}

}  // namespace
}  // namespace trainyard::link

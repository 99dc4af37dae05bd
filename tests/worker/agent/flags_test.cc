#include "worker/agent/flags.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kGood = {
    "--id",   "worker-0", "--coordinator", "127.0.0.1:7077", "--token-file", "t",
    "--home", "h",        "--blobs=b"};

std::vector<std::string> With(std::vector<std::string> more) {
  std::vector<std::string> words = kGood;
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Flags, AreReadInBothSpellings) {
  ASSERT_OK_AND_ASSIGN(const Flags flags, ParseFlags(With({"--slots", "3", "--drain"})));
  EXPECT_EQ(flags.id, "worker-0");
  EXPECT_EQ(flags.blobs, "b");
  EXPECT_EQ(flags.slots, 3);
  EXPECT_TRUE(flags.drain);
  EXPECT_TRUE(flags.gpus);
}

TEST(Flags, ErrorsNameTheFlagAndTheNearestName) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--slot", "1"}, "did you mean --slots?"},
      {{"--frobnicate"}, "--help lists them"},
      {{"--slots", "many"}, "'many'"},
      {{"--slots", "-1"}, "'-1'"},
      {{"--slots"}, "needs a value"},
      {{"--drain=yes"}, "takes no value"},
      {{"--id", "a/b"}, "--id: 'a/b'"},
      {{"--bind-address", "somewhere"}, "not a numeric"},
      {{"--bind-address", "0.0.0.0"}, "name one of this host's"},
      {{"--bind-address", "::"}, "name one of this host's"},
      {{"--drain", "--kill-on-exit"}, "exclude"}};
  for (const auto& [words, message] : cases)
    EXPECT_THAT(ParseFlags(With(words)),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(message)));
  EXPECT_THAT(ParseFlags({"--id", "x"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("--coordinator is missing")));
}

TEST(Flags, HelpNeedsNothingElseAndNamesEveryFlag) {
  ASSERT_OK_AND_ASSIGN(const Flags flags, ParseFlags({"--help"}));
  EXPECT_TRUE(flags.help);
  for (const char* name : {"--id", "--blobs", "--tls-key", "--kill-on-exit"})
    EXPECT_THAT(Usage(), HasSubstr(name));
}

}  // namespace
}  // namespace trainyard::worker

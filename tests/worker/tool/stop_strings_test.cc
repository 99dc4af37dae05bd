#include "worker/tool/stop_strings.h"

#include <gtest/gtest.h>

namespace trainyard::worker {
namespace {

TEST(StopStrings, HoldBackWhatMayBecomeOne) {
  StopStrings stops({"\nUser:", "</s>"});
  EXPECT_EQ(stops.Feed("Hello"), "Hello");
  EXPECT_EQ(stops.Feed(" there\nUs"), " there");
  EXPECT_EQ(stops.Feed("eful"), "\nUseful");
  EXPECT_EQ(stops.Feed(" <"), " ");
  EXPECT_EQ(stops.Finish(), "<");
  EXPECT_FALSE(stops.stopped());
}

TEST(StopStrings, EndTheTextWhereTheFirstBegins) {
  StopStrings stops({"stop", "top"});
  EXPECT_EQ(stops.Feed("do not s"), "do not ");
  EXPECT_EQ(stops.Feed("top here, stop"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.Feed("more"), "");
  EXPECT_EQ(stops.Finish(), "");
}

TEST(StopStrings, ShowTheSameHoweverTheTextIsCut) {
  const std::string text = "aababcabab!aabac then";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    StopStrings stops({"ababac", "aabac"});
    std::string shown;
    for (size_t i = 0; i < text.size(); i += piece) shown += stops.Feed(text.substr(i, piece));
    shown += stops.Finish();
    EXPECT_EQ(shown, "aababcabab!") << piece;
    EXPECT_TRUE(stops.stopped());
  }
}

TEST(StopStrings, FindHiddenTextAndShowNoneOfIt) {
  StopStrings stops({"<end>", "b<x>c"});
  EXPECT_EQ(stops.FeedHidden("<x>"), "");
  EXPECT_EQ(stops.Feed("ab"), "a");
  EXPECT_EQ(stops.FeedHidden("<x>"), "");
  EXPECT_EQ(stops.Feed("d"), "bd");  // what was held comes without the hidden part
  EXPECT_EQ(stops.FeedHidden("<end>"), "");
  EXPECT_TRUE(stops.stopped());
  StopStrings across({"b<x>c"});
  EXPECT_EQ(across.Feed("ab"), "a");
  EXPECT_EQ(across.FeedHidden("<x>"), "");
  EXPECT_EQ(across.Feed("cd"), "");
  EXPECT_TRUE(across.stopped());
}

TEST(StopStrings, WithoutAnyLetEverythingPass) {
  StopStrings stops({""});
  EXPECT_EQ(stops.Feed("all of it"), "all of it");
  EXPECT_FALSE(stops.stopped());
}

}  // namespace
}  // namespace trainyard::worker

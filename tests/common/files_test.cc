#include "common/files.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::HasSubstr;

TEST(Sha256, MatchesTheFipsVectors) {
  EXPECT_EQ(Sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(HmacSha256, MatchesRfc4231CaseTwo) {
  EXPECT_EQ(HmacSha256("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(FindInvalidUtf8, NamesTheFirstBadByte) {
  EXPECT_EQ(FindInvalidUtf8("plain"), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("caf\xc3\xa9 \xf0\x9f\x98\x80"), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("ab\xff"), 2u);
  EXPECT_EQ(FindInvalidUtf8("ab\xc3"), 2u);            // cut short
  EXPECT_EQ(FindInvalidUtf8("\xc0\xaf"), 0u);          // overlong
  EXPECT_EQ(FindInvalidUtf8("x\xed\xa0\x80"), 1u);     // surrogate
  EXPECT_EQ(FindInvalidUtf8("\xf4\x90\x80\x80"), 0u);  // past U+10FFFF
}

TEST(ReadFile, CallsAGitLfsPointerOne) {
  const auto folder = std::filesystem::path(testing::TempDir()) / ("lfs-" + RandomHex(4));
  ASSERT_OK(MakeFolders(folder));
  const auto path = folder / "data.jsonl";
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, '0') +
      "\nsize 12\n";
  ASSERT_OK(WriteFileAtomically(path, pointer));
  EXPECT_THAT(ReadFile(path),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("data.jsonl is a Git LFS pointer")));
  EXPECT_THAT(Sha256OfFile(path),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("git lfs pull")));
  ASSERT_OK(WriteFileAtomically(path, "version 2\n" + pointer));
  EXPECT_OK(ReadFile(path).status());
}

TEST(WriteFileAtomically, ReplacesAFileAndLeavesNothingElse) {
  const auto folder = std::filesystem::path(testing::TempDir()) / ("files-" + RandomHex(4));
  ASSERT_OK(MakeFolders(folder));
  ASSERT_OK(WriteFileAtomically(folder / "a", "one"));
  ASSERT_OK(WriteFileAtomically(folder / "a", "two"));
  EXPECT_EQ(*ReadFile(folder / "a"), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  EXPECT_THAT(ReadFile(folder / "a", 2),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("larger")));
  EXPECT_THAT(ReadFile(folder / "b"), StatusIs(StatusCode::kNotFound, HasSubstr("b")));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace trainyard

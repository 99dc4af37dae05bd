#include "common/user_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>

#include "common/files.h"
#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::HasSubstr;

class WriteUserFileTest : public testing::Test {
 protected:
  WriteUserFileTest() {
    EXPECT_OK(MakeFolders(folder_));
    ::umask(0022);
  }
  ~WriteUserFileTest() override { std::filesystem::remove_all(folder_); }
  static mode_t Mode(const std::filesystem::path& path) {
    struct stat info = {};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
    return info.st_mode;
  }
  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("user-files-" + RandomHex(4));
};

TEST_F(WriteUserFileTest, ANewFileIsAsTheUmaskLetsItAndAnOldOneKeepsItsMode) {
  ASSERT_OK(WriteUserFile(folder_ / "a", "one"));
  EXPECT_EQ(Mode(folder_ / "a") & 07777, 0644u);
  ASSERT_EQ(::chmod((folder_ / "a").c_str(), 0640), 0);
  ASSERT_OK(WriteUserFile(folder_ / "a", "two"));
  EXPECT_EQ(*ReadFile(folder_ / "a"), "two");
  EXPECT_EQ(Mode(folder_ / "a") & 07777, 0640u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(WriteUserFileTest, ALinkIsFollowedAlsoOneThatLeadsNowhereYet) {
  std::filesystem::create_symlink("target", folder_ / "link");
  for (const char* text : {"longer text", "short"}) {
    ASSERT_OK(WriteUserFile(folder_ / "link", text));
    EXPECT_TRUE(S_ISLNK(Mode(folder_ / "link")));
    EXPECT_EQ(*ReadFile(folder_ / "target"), text);
  }
}

TEST_F(WriteUserFileTest, APipeIsWrittenIntoAndStaysOne) {
  const auto pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const UniqueFd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_OK(WriteUserFile(pipe, "through"));
  std::string got(100, '\0');
  got.resize(static_cast<size_t>(::read(reader.get(), got.data(), got.size())));
  EXPECT_EQ(got, "through");
  EXPECT_TRUE(S_ISFIFO(Mode(pipe)));
}

TEST_F(WriteUserFileTest, ADeviceStaysADeviceAndAFullOneIsSaidToBeFull) {
  const auto full = folder_ / "full";
  if (::mknod(full.c_str(), S_IFCHR | 0600, makedev(1, 7)) != 0)
    GTEST_SKIP() << "device nodes may not be made here";
  const UniqueFd usable(::open(full.c_str(), O_WRONLY | O_CLOEXEC));
  if (!usable.valid()) GTEST_SKIP() << "device nodes in the temporary folder may not be opened";
  EXPECT_THAT(WriteUserFile(full, "x"),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr(full.string())));
  EXPECT_TRUE(S_ISCHR(Mode(full)));
}

TEST_F(WriteUserFileTest, AFolderIsRefusedAndNothingIsLeft) {
  EXPECT_THAT(WriteUserFile(folder_, "x"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("is a folder")));
  EXPECT_THAT(WriteUserFile(folder_ / "none" / "a", "x"),
              StatusIs(StatusCode::kNotFound, HasSubstr("none")));
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST(IsTaken, ALinkThatLeadsNowhereTakesAPlace) {
  const auto link = std::filesystem::path(testing::TempDir()) / ("nowhere-" + RandomHex(4));
  EXPECT_FALSE(IsTaken(link));
  std::filesystem::create_symlink("nothing-there", link);
  EXPECT_TRUE(IsTaken(link));
  std::filesystem::remove(link);
}

}  // namespace
}  // namespace trainyard

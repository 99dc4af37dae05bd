#include "common/lock_owner.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>

#include "common/files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace trainyard {
namespace {

using testing::HasSubstr;
using testing::Optional;

TEST(LockOwner, IsNamedWhileItHoldsTheLockAndNotAfterwards) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "lock";
  EXPECT_EQ(LockHolder(path), std::nullopt) << "there is no file";
  {
    const UniqueFd held(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(::flock(held.get(), LOCK_EX | LOCK_NB), 0);
    ASSERT_OK(WriteLockOwner(held.get(), path));
    EXPECT_THAT(LockHolder(path),
                Optional(HasSubstr(fmt::format("process {}, since 2", ::getpid()))));
  }
  EXPECT_EQ(LockHolder(path), std::nullopt) << "its owner is gone";
}

TEST(LockOwner, OfAFileThatDoesNotSayIsUnknown) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "lock";
  for (const char* text : {"", "no pid", "-1"}) {
    std::ofstream(path) << text;
    EXPECT_EQ(DescribeLockOwner(path), "an unknown process") << text;
  }
}

}  // namespace
}  // namespace trainyard

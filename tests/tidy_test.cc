// Keeps the house tidy: the floors of docs/architecture.md, test files that are built, paths in the
// docs that exist, files of one idea. Reads the source tree only.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "common/files.h"
#include "tests/support/places.h"

namespace trainyard {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = SourceFolder();
constexpr int64_t kLinesMax = 500;  // aim for 400; past 500 a file has two ideas

struct SourceFile {
  std::string path;  // relative to the root
  std::string text;
  std::vector<std::string> includes;  // the quoted ones
};

bool StartsWithAny(const std::string& text, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return text.starts_with(prefix); });
}

std::vector<SourceFile> FilesWith(const std::set<std::string>& extensions,
                                  const std::vector<std::string>& folders) {
  static const std::regex kInclude("#include \"([^\"]+)\"");
  std::vector<SourceFile> files;
  for (const std::string& folder : folders) {
    if (!fs::exists(kRoot / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      if (!entry.is_regular_file() || !extensions.contains(entry.path().extension())) continue;
      const std::string path = fs::relative(entry.path(), kRoot).string();
      if (path.find("/target/") != std::string::npos) continue;
      SourceFile file{path, ReadFile(entry.path()).value_or(""), {}};
      for (std::sregex_iterator it(file.text.begin(), file.text.end(), kInclude), end; it != end;
           ++it)
        file.includes.push_back((*it)[1]);
      files.push_back(std::move(file));
    }
  }
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return files;
}

std::vector<SourceFile> Sources() {
  return FilesWith({".h", ".cc"}, {"common", "coordinator", "worker", "cli", "bench"});
}

// A floor may stand on these and on itself. The first prefix that fits a file decides.
struct Floor {
  std::string folder;
  std::vector<std::string> may_include;
};

const std::vector<Floor> kFloors = {
    {"common/wire/", {"common/", "trainyard/v1/", "google/rpc/"}},
    {"common/model/", {"common/model/", "common/require.h", "common/status.h"}},
    {"common/", {"common/"}},
    {"cli/", {"cli/", "common/", "trainyard/v1/"}},
    {"coordinator/state/", {"coordinator/state/", "common/"}},
    {"coordinator/scheduler/", {"coordinator/scheduler/", "coordinator/state/", "common/"}},
    {"coordinator/store/", {"coordinator/store/", "coordinator/state/", "common/"}},
    {"coordinator/history/", {"coordinator/history/", "coordinator/state/", "common/"}},
    {"coordinator/service/", {"coordinator/", "common/", "trainyard/v1/", "google/rpc/"}},
    {"coordinator/", {"coordinator/", "common/", "trainyard/v1/"}},
    {"worker/agent/", {"worker/agent/", "common/", "trainyard/v1/"}},
    {"worker/main.cc", {"worker/agent/", "common/"}},
    {"worker/ops/", {"worker/ops/", "common/"}},
    {"worker/model/", {"worker/model/", "worker/ops/", "worker/data/batch.h", "common/"}},
    {"worker/parallel/", {"worker/parallel/", "common/"}},
    {"worker/text/", {"worker/text/", "common/"}},
    {"worker/objective/", {"worker/objective/", "common/"}},
    {"worker/data/", {"worker/data/", "worker/text/", "common/"}},
    {"worker/optim/", {"worker/optim/", "worker/parallel/", "worker/ops/", "common/"}},
    {"worker/model_text/", {"worker/model_text/", "worker/checkpoint/", "worker/text/", "common/"}},
    {"worker/checkpoint/", {"worker/checkpoint/", "common/"}},
    {"worker/engine/",
     {"worker/engine/", "worker/model/", "worker/ops/", "worker/optim/", "worker/parallel/",
      "worker/objective/", "worker/checkpoint/", "worker/data/batch.h", "common/"}},
    {"worker/loop/",
     {"worker/loop/", "worker/engine/", "worker/data/", "worker/objective/", "worker/checkpoint/",
      "worker/parallel/", "worker/optim/schedule.h", "worker/model_text/", "worker/text/",
      "common/"}},
};

TEST(Tidy, EveryFloorStandsOnlyOnThoseBelow) {
  for (const SourceFile& file : Sources()) {
    const auto floor = std::find_if(kFloors.begin(), kFloors.end(), [&](const Floor& f) {
      return file.path.starts_with(f.folder);
    });
    if (floor == kFloors.end()) continue;
    for (const std::string& include : file.includes)
      EXPECT_TRUE(StartsWithAny(include, floor->may_include) || include.starts_with("gen/"))
          << file.path << " includes " << include;
  }
}

TEST(Tidy, TheTrainerSideKnowsNoWire) {
  for (const SourceFile& file : Sources()) {
    if (!file.path.starts_with("worker/") || file.path.starts_with("worker/agent/") ||
        file.path == "worker/main.cc")
      continue;
    for (const std::string& include : file.includes)
      EXPECT_FALSE(StartsWithAny(include, {"common/wire/", "trainyard/v1/"}))
          << file.path << " includes " << include;
    EXPECT_EQ(file.text.find("#include <grpc"), std::string::npos) << file.path;
  }
}

TEST(Tidy, OnlyTheTrainerSideAndItsTestsIncludeTorch) {
  for (const SourceFile& file : Sources()) {
    if (StartsWithAny(file.path, {"worker/ops/", "worker/model/", "worker/optim/", "worker/engine/",
                                  "worker/trainer_main.cc", "bench/"}))
      continue;
    for (const char* header : {"#include <ATen", "#include <torch", "#include <c10"})
      EXPECT_EQ(file.text.find(header), std::string::npos) << file.path;
  }
}

TEST(Tidy, TheProductHasNoAutogradAndNoPickle) {
  for (const SourceFile& file : Sources())
    for (const char* word : {"#include <torch/", "torch::load", "pickle_load", "torch::jit"})
      EXPECT_EQ(file.text.find(word), std::string::npos) << file.path << " has " << word;
}

TEST(Tidy, OneClockAndNoNakedThreads) {
  for (const SourceFile& file : Sources()) {
    if (StartsWithAny(file.path, {"common/clock", "common/thread", "bench/", "cli/"})) continue;
    for (const char* word : {"absl::Now()", "std::thread ", ".detach()", "std::this_thread::sleep"})
      EXPECT_EQ(file.text.find(word), std::string::npos) << file.path << " has " << word;
  }
}

TEST(Tidy, FilesHaveOneIdea) {
  for (const SourceFile& file :
       FilesWith({".h", ".cc"}, {"common", "coordinator", "worker", "cli", "tests", "bench"}))
    EXPECT_LE(std::count(file.text.begin(), file.text.end(), '\n'), kLinesMax) << file.path;
}

TEST(Tidy, EveryTestFileIsBuilt) {
  const std::vector<SourceFile> lists = FilesWith({".txt"}, {"tests"});
  for (const SourceFile& file : FilesWith({".cc"}, {"tests"})) {
    const fs::path path = file.path;
    // Listed in the CMakeLists of its folder or of one above, or by its whole path in another one.
    bool listed = std::any_of(lists.begin(), lists.end(), [&](const SourceFile& list) {
      return list.text.find("${CMAKE_SOURCE_DIR}/" + file.path) != std::string::npos;
    });
    for (fs::path folder = path.parent_path(); !folder.empty(); folder = folder.parent_path()) {
      const std::string near = ReadFile(kRoot / folder / "CMakeLists.txt").value_or("");
      if (near.find(fs::relative(path, folder).string()) != std::string::npos) listed = true;
    }
    EXPECT_TRUE(listed) << path << " is in no CMakeLists.txt";
  }
}

TEST(Tidy, PathsNamedInTheDocsExist) {
  // `common/status.h`, `scripts/test`: a backquoted path whose first part is a folder of ours.
  static const std::regex kPath("`([a-z_]+/[A-Za-z0-9_./-]+)`");
  std::vector<SourceFile> docs = FilesWith({".md"}, {"docs"});
  docs.push_back({"README.md", ReadFile(kRoot / "README.md").value_or(""), {}});
  for (const SourceFile& doc : docs) {
    for (std::sregex_iterator it(doc.text.begin(), doc.text.end(), kPath), end; it != end; ++it) {
      std::string path = (*it)[1];
      if (!fs::is_directory(kRoot / path.substr(0, path.find('/')))) continue;
      if (path.starts_with("build/") || path.starts_with("data/")) continue;
      while (path.ends_with('.') || path.ends_with('/')) path.pop_back();
      EXPECT_TRUE(fs::exists(kRoot / path)) << doc.path << " names " << path;
    }
  }
}

}  // namespace
}  // namespace trainyard

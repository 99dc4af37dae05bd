#include "common/job_spec/local_data.h"

#include <fstream>

#include "common/job_spec/local_model.h"
#include "tests/common/job_spec/example.h"
#include "tests/support/temp_folder.h"

namespace trainyard {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LocalData : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text = "x") const {
    fs::create_directories((folder_.path() / name).parent_path());
    std::ofstream(folder_.path() / name) << text;
  }
  // Relative to the folder.
  std::vector<std::string> Expand(const std::string& pattern) {
    const auto found = ExpandDataPath((folder_.path() / pattern).string());
    EXPECT_OK(found);
    std::vector<std::string> names;
    if (!found.ok()) return names;
    for (const fs::path& path : found->paths)
      names.push_back(fs::relative(path, folder_.path()).string());
    notes_ = found->notes;
    return names;
  }
  JobSpec SpecOver(const std::string& name) const {
    JobSpec spec = ExampleJob().spec;
    spec.data.train = {{.path = (folder_.path() / name).string()}};
    spec.data.validation.clear();
    return spec;
  }
  const TempFolder folder_;
  std::vector<std::string> notes_;
};

TEST_F(LocalData, AFileThatIsThereByExactlyItsNameIsMeantWhateverCharactersItHas) {
  for (const char* name :
       {"notes [2024].txt", "what?.txt", "{a,b}.txt", "star*.txt", "~tilde.txt"}) {
    Write(name);
    EXPECT_THAT(Expand(name), ElementsAre(name));
  }
  Write("star-and-more.txt");
  EXPECT_THAT(Expand("star*.txt"), ElementsAre("star*.txt"));
  EXPECT_THAT(Expand("star-*.txt"), ElementsAre("star-and-more.txt"));
  EXPECT_THAT(Expand("{notes*,what*}.txt"), ElementsAre("notes [2024].txt", "what?.txt"));
}

TEST_F(LocalData, AFolderWithAGlobsCharactersMayStandBeforeAGlob) {
  Write("plays [old]/a.txt");
  Write("plays o/b.txt");
  EXPECT_THAT(Expand("plays [old]/*.txt"), ElementsAre("plays [old]/a.txt"));
  EXPECT_THAT(Expand("plays [o]/*.txt"), ElementsAre("plays o/b.txt"));
}

TEST_F(LocalData, AFolderIsItsTextsAndThoseBelowItAndTheOthersAreNamed) {
  for (const char* name :
       {"set/b.TXT", "set/a.jsonl", "set/deep/c.md", "set/deep/d.json.gz", "set/.hidden.txt",
        "set/.git/e.txt", "set/picture.png", "set/data.parquet"})
    Write(name);
  EXPECT_THAT(Expand("set"),
              ElementsAre("set/a.jsonl", "set/b.TXT", "set/deep/c.md", "set/deep/d.json.gz"));
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_THAT(notes_[0], AllOf(HasSubstr("4 texts"), HasSubstr("2 other files")));
  EXPECT_EQ(Expand("set/").size(), 4u);
  EXPECT_EQ(Expand("s?t").size(), 4u);                         // a glob that means the folder
  EXPECT_THAT(Expand("set/*.TXT"), ElementsAre("set/b.TXT"));  // one that means files
  EXPECT_THAT(Expand("set/*"), AllOf(testing::Contains("set/picture.png"),
                                     testing::Not(testing::Contains("set/deep/c.md"))));
  Write("pictures/a.png");
  EXPECT_THAT(ExpandDataPath((folder_.path() / "pictures").string()),
              StatusIs(StatusCode::kNotFound, AllOf(HasSubstr("pictures"), HasSubstr(".jsonl"))));
}

TEST_F(LocalData, ANameOfTheHubIsCalledOne) {
  EXPECT_THAT(ExpandDataPath("roneneldan/TinyStories"),
              StatusIs(StatusCode::kNotFound,
                       AllOf(HasSubstr("nothing is fetched"), HasSubstr("--repo-type dataset"))));
  EXPECT_THAT(ExpandDataPath("plays/*.txt"),
              StatusIs(StatusCode::kNotFound, testing::Not(HasSubstr("Hub"))));
  EXPECT_TRUE(LooksLikeHubName("Qwen/Qwen2.5-0.5B"));
  for (const char* path : {"a", "./model", "/a/b", "a/b/c", "model/", "a/m.gguf", "../x"})
    EXPECT_FALSE(LooksLikeHubName(path)) << path;
}

TEST_F(LocalData, DocumentsAreCheckedWithFileLineAndColumnAndTheField) {
  Write("rows.jsonl", "{\"text\": \"fine\"}\n{\"text\": oops}\n");
  JobSpec spec = SpecOver("rows.jsonl");
  ASSERT_OK_AND_ASSIGN(LocalFiles files, DigestLocalData(spec));
  const Status bad = CheckLocalDocuments(spec, files);
  EXPECT_THAT(bad, StatusIs(StatusCode::kInvalidArgument, HasSubstr("rows.jsonl:2:10: not JSON")));
  EXPECT_EQ(FieldOf(bad), "data.train[0].path");
  // The other list, and text that is none.
  Write("fine.txt");
  Write("latin.txt", "caf\xe9!");
  spec = SpecOver("fine.txt");
  spec.data.validation = {{.path = (folder_.path() / "latin.txt").string()}};
  ASSERT_OK_AND_ASSIGN(files, DigestLocalData(spec));
  const Status latin = CheckLocalDocuments(spec, files);
  EXPECT_THAT(latin, StatusIs(StatusCode::kInvalidArgument, HasSubstr("latin.txt:1:4: ")));
  EXPECT_EQ(FieldOf(latin), "data.validation[0].path");
}

TEST_F(LocalData, AnEarlierSubmitsFilesAreTakenWhereThePathIsNotHereAnyMore) {
  Write("a.txt", "one");
  JobSpec spec = SpecOver("a.txt");
  ASSERT_OK(DigestLocalData(spec));
  const std::string digest = spec.data.train[0].files.at(0).sha256;
  fs::remove(folder_.path() / "a.txt");
  std::vector<std::string> notes;
  ASSERT_OK_AND_ASSIGN(const LocalFiles files, DigestLocalData(spec, &notes));
  EXPECT_THAT(files, IsEmpty());
  EXPECT_EQ(spec.data.train[0].files.at(0).sha256, digest);
  EXPECT_THAT(notes, ElementsAre(HasSubstr("is not here")));
  EXPECT_OK(CheckLocalDocuments(spec, files));
  Write("a.txt", "two");
  notes.clear();
  ASSERT_OK(DigestLocalData(spec, &notes));
  EXPECT_NE(spec.data.train[0].files.at(0).sha256, digest);
  EXPECT_THAT(notes, ElementsAre(HasSubstr("has changed")));
}

TEST_F(LocalData, ANameIsAFolderFirstAndElseAJob) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  fs::create_directory("mine");
  EXPECT_EQ(WithJobPrefix("mine"), "mine");
  EXPECT_EQ(WithJobPrefix("yours"), "job:yours");
  EXPECT_EQ(WithJobPrefix("mine@latest"), "job:mine@latest");
  EXPECT_EQ(WithJobPrefix("yours-x1y2z@400"), "job:yours-x1y2z@400");
  for (const char* kept : {"job:mine@400", "a/b", "model.gguf", "Mine", ""})
    EXPECT_EQ(WithJobPrefix(kept), kept);
  fs::current_path(before);
}

}  // namespace
}  // namespace trainyard

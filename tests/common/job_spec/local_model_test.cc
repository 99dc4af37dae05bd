#include "common/job_spec/local_model.h"

#include "common/files.h"
#include "common/job_spec/local_data.h"
#include "common/job_spec/validate.h"
#include "tests/common/job_spec/example.h"
#include "tests/support/temp_folder.h"

namespace trainyard {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class LocalModel : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text = "x") const {
    ASSERT_OK(WriteFileAtomically(folder_.path() / name, text));
  }
  std::vector<std::string> NamesOf(const StatusOr<std::vector<fs::path>>& paths) const {
    EXPECT_OK(paths);
    std::vector<std::string> names;
    if (!paths.ok()) return names;
    for (const fs::path& path : *paths) {
      EXPECT_EQ(path.parent_path(), folder_.path());
      names.push_back(path.filename());
    }
    return names;
  }
  const TempFolder folder_;
};

TEST_F(LocalModel, IsAFolderOfConfigWeightsAndTokenizer) {
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja",
        "generation_config.json", "README.md", "pytorch_model.bin", "optimizer.pt"})
    Write(name);
  EXPECT_THAT(NamesOf(FindModelFiles(folder_.path())),
              UnorderedElementsAre("config.json", "model.safetensors", "tokenizer.json",
                                   "chat_template.jinja", "generation_config.json"));
}

TEST_F(LocalModel, HasItsVocabularyFromBeforeTokenizerJsonAndItsNamedTemplates) {
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.model", "vocab.json"})
    Write(name);
  EXPECT_THAT(NamesOf(FindTokenizerFiles(folder_.path())),
              UnorderedElementsAre("config.json", "tokenizer.model", "vocab.json"));
  fs::create_directory(folder_.path() / kTemplatesFolder);
  for (const char* name : {"tool_use.jinja", "rag.jinja", "notes.txt", "a b.jinja"})
    Write(std::string(kTemplatesFolder) + "/" + name);
  std::vector<std::string> names;
  ASSERT_OK_AND_ASSIGN(const auto paths, FindModelFiles(folder_.path()));
  for (const fs::path& path : paths) names.push_back(ModelFileName(path));
  EXPECT_THAT(names, UnorderedElementsAre("config.json", "model.safetensors", "tokenizer.model",
                                          "vocab.json", "additional_chat_templates/rag.jinja",
                                          "additional_chat_templates/tool_use.jinja"));
  EXPECT_TRUE(IsModelFileName("additional_chat_templates/rag.jinja"));
  for (const char* name : {"other/rag.jinja", "additional_chat_templates/../x",
                           "additional_chat_templates/a/b", "additional_chat_templates/"})
    EXPECT_FALSE(IsModelFileName(name)) << name;
}

TEST_F(LocalModel, HasTheShardsThatItsIndexNames) {
  Write("config.json");
  Write("model-00001-of-00002.safetensors");
  Write("model-00002-of-00002.safetensors");
  Write("model-00003-of-00002.safetensors");  // of nobody
  Write("model.safetensors.index.json",
        R"({"weight_map": {"a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}})");
  EXPECT_THAT(
      NamesOf(FindModelFiles(folder_.path())),
      UnorderedElementsAre("config.json", "model.safetensors.index.json",
                           "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"));
  fs::remove(folder_.path() / "model-00002-of-00002.safetensors");
  EXPECT_THAT(FindModelFiles(folder_.path()),
              StatusIs(StatusCode::kNotFound, HasSubstr("model-00002-of-00002.safetensors")));
  Write("model.safetensors.index.json", R"({"weight_map": {"a": "../../etc/passwd"}})");
  EXPECT_THAT(FindModelFiles(folder_.path()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no plain file name")));
  Write("model.safetensors.index.json", "{}");
  EXPECT_THAT(FindModelFiles(folder_.path()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no weight_map")));
}

TEST_F(LocalModel, MayBeOneGgufFile) {
  Write("a.gguf");
  Write("a.bin");
  EXPECT_THAT(NamesOf(FindModelFiles(folder_.path() / "a.gguf")), ElementsAre("a.gguf"));
  EXPECT_THAT(FindModelFiles(folder_.path() / "a.bin"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no .gguf file")));
}

TEST_F(LocalModel, SaysWhatIsMissing) {
  EXPECT_THAT(FindModelFiles(folder_.path() / "nowhere"),
              StatusIs(StatusCode::kNotFound, HasSubstr("does not exist (looked from")));
  EXPECT_THAT(FindModelFiles(folder_.path()),
              StatusIs(StatusCode::kNotFound, HasSubstr("no config.json")));
  Write("config.json");
  Write("pytorch_model.bin");
  EXPECT_THAT(FindModelFiles(folder_.path()),
              StatusIs(StatusCode::kNotFound, HasSubstr("Weights in pickles (.bin, .pt)")));
  EXPECT_THAT(FindTokenizerFiles(folder_.path()),
              StatusIs(StatusCode::kNotFound, HasSubstr("no tokenizer.json")));
}

TEST_F(LocalModel, BecomesDigestsThatTheCoordinatorAccepts) {
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) Write(name, name);
  Write("text.txt", "some text");
  JobSpec spec = ExampleJob().spec;
  spec.data.train = {{.path = folder_.path() / "text.txt"}};
  spec.data.validation.clear();
  spec.model = {.preset = "", .from = folder_.path(), .config = {}};
  spec.tokenizer = {.train = {}, .from = folder_.path() / "tokenizer.json"};
  EXPECT_EQ(FieldOf(ValidateUploaded(spec)), "data.train[0].files");
  ASSERT_OK_AND_ASSIGN(const LocalFiles files, DigestLocalData(spec));
  EXPECT_EQ(files.size(), 4u);
  ASSERT_EQ(spec.model.files.size(), 3u);
  EXPECT_EQ(spec.model.files[0].name, "config.json");
  EXPECT_EQ(spec.model.files[0].sha256, Sha256("config.json"));
  ASSERT_EQ(spec.tokenizer.files.size(), 1u);
  EXPECT_OK(ValidateUploaded(spec));

  JobSpec other = spec;
  other.model.files[1].name = "../model.safetensors";
  EXPECT_EQ(FieldOf(ValidateUploaded(other)), "model.files[1].name");
  other = spec;
  other.model.files[1] = other.model.files[0];
  EXPECT_EQ(FieldOf(ValidateUploaded(other)), "model.files[1].name");
  other = spec;
  other.model.files[2].sha256 = "x";
  EXPECT_EQ(FieldOf(ValidateUploaded(other)), "model.files[2].sha256");
  other = spec;
  other.tokenizer.files.clear();
  EXPECT_EQ(FieldOf(ValidateUploaded(other)), "tokenizer.files");
  other = spec;
  other.model.from.clear();
  EXPECT_EQ(FieldOf(ValidateUploaded(other)), "model.files");

  Write("config.json", "");
  const Status empty = DigestLocalData(spec).status();
  EXPECT_THAT(empty, StatusIs(StatusCode::kInvalidArgument, HasSubstr("config.json is empty")));
  EXPECT_EQ(FieldOf(empty), "model.from");
  // A checkpoint is the coordinator's to find.
  spec.model.from = "job:shakespeare@latest";
  spec.model.files.clear();
  EXPECT_OK(DigestLocalData(spec));
  EXPECT_TRUE(spec.model.files.empty());
}

}  // namespace
}  // namespace trainyard

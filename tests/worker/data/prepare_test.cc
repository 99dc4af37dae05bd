#include "worker/data/prepare.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/support/places.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/data/shards.h"
#include "worker/data/evaluation_rows.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::filesystem::path kData = SourceFolder() / "../shared/data";

TextFile FileAt(const std::filesystem::path& path) { return {path, path.filename().string()}; }

std::string Lines(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += fmt::format("The line number {} of a small text.\n", i);
  return text;
}

class PrepareTest : public testing::Test {
 protected:
  PrepareSpec SmallSpec(const std::string& out = "out") {
    PrepareSpec spec;
    spec.train = {{.files = {FileAt(folder_.Write("a.txt", Lines(200))),
                             FileAt(folder_.Write("b.txt", Lines(50) + "été\n"))}},
                  {.files = {FileAt(folder_.Write("c.jsonl", "{\"text\": \"the only row\"}\n"))},
                   .weight = 0.5}};
    spec.validation = {{.files = {FileAt(folder_.Write("v.txt", Lines(20)))}}};
    spec.vocab_size = 300;
    spec.folder = folder_.path() / out;
    return spec;
  }
  // The text of a source's items, by decoding.
  static std::vector<std::string> Texts(const PreparedData& data, const LoaderSource& source) {
    std::vector<std::string> texts;
    for (const auto& shard : source.shards) {
      for (int64_t item = 0; item < shard->items(); ++item) {
        std::vector<int32_t> ids(
            static_cast<size_t>(shard->item_end(item) - shard->item_begin(item)));
        shard->CopyTokens(shard->item_begin(item), static_cast<int64_t>(ids.size()), ids.data());
        EXPECT_EQ(ids.back(), data.end_of_text);
        ids.pop_back();
        texts.push_back(*data.tokenizer->Decode(ids));
        EXPECT_EQ(static_cast<int64_t>(texts.back().size()), shard->item_bytes(item));
      }
    }
    return texts;
  }
  const Folder folder_;
};

TEST_F(PrepareTest, KeepsEveryDocumentWordForWord) {
  ASSERT_OK(Prepare(SmallSpec()));
  ASSERT_OK_AND_ASSIGN(const PreparedData data, OpenPrepared(folder_.path() / "out"));
  EXPECT_EQ(data.tokenizer->vocab_size(), 300);
  EXPECT_EQ(data.end_of_text, *data.tokenizer->TokenToId(kEndOfText));
  ASSERT_EQ(data.train.size(), 2u);
  EXPECT_EQ(data.train[1].weight, 0.5);
  EXPECT_THAT(Texts(data, data.train[0]), testing::ElementsAre(Lines(200), Lines(50) + "été\n"));
  EXPECT_THAT(Texts(data, data.train[1]), testing::ElementsAre("the only row"));
  ASSERT_OK_AND_ASSIGN(const auto rows, EvaluationRows::Create(data.validation, 32, 0));
  EXPECT_EQ(rows.source_bytes(), static_cast<double>(Lines(20).size()));
}

TEST_F(PrepareTest, GivesTheSameBytesForTheSameInput) {
  ASSERT_OK_AND_ASSIGN(const std::string first, Prepare(SmallSpec("one")));
  ASSERT_OK_AND_ASSIGN(const std::string second, Prepare(SmallSpec("two")));
  EXPECT_EQ(first, second);
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path() / "one"))
    EXPECT_EQ(*ReadFile(entry.path()), *ReadFile(folder_.path() / "two" / entry.path().filename()));
}

TEST_F(PrepareTest, ListsEveryFileWithItsHash) {
  ASSERT_OK_AND_ASSIGN(const std::string text, Prepare(SmallSpec()));
  const auto manifest = nlohmann::json::parse(text);
  EXPECT_EQ(*ReadFile(folder_.path() / "out" / kManifestName), text);
  int files = 1;  // the manifest itself
  const auto check = [&](const nlohmann::json& file) {
    const auto path = folder_.path() / "out" / file["name"].get<std::string>();
    EXPECT_EQ(*Sha256OfFile(path), file["sha256"]) << path;
    EXPECT_EQ(std::filesystem::file_size(path), file["size_bytes"].get<uint64_t>()) << path;
    ++files;
  };
  check(manifest["tokenizer"]);
  for (const char* part : {"train", "validation"})
    for (const auto& source : manifest[part])
      for (const auto& file : source["files"]) check(file);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path() / "out"), {}), files);
  EXPECT_EQ(manifest["totals"]["train"]["items"], 3);
}

TEST_F(PrepareTest, EndsShardsBetweenDocuments) {
  PrepareSpec spec = SmallSpec();
  spec.shard_tokens = 100;
  ASSERT_OK(Prepare(spec));
  ASSERT_OK_AND_ASSIGN(const PreparedData data, OpenPrepared(spec.folder));
  EXPECT_EQ(data.train[0].shards.size(), 2u);
  EXPECT_THAT(Texts(data, data.train[0]), testing::ElementsAre(Lines(200), Lines(50) + "été\n"));
}

TEST_F(PrepareTest, LeavesNothingOfAnEarlierRun) {
  PrepareSpec spec = SmallSpec();
  spec.shard_tokens = 100;
  ASSERT_OK(Prepare(spec));
  ASSERT_OK(WriteFileAtomically(spec.folder / "train-000-00000.tok.tmp-1", "half"));
  ASSERT_TRUE(std::filesystem::exists(spec.folder / "train-000-00001.tok"));
  ASSERT_OK(Prepare(SmallSpec()));
  EXPECT_FALSE(std::filesystem::exists(spec.folder / "train-000-00001.tok"));
  EXPECT_FALSE(std::filesystem::exists(spec.folder / "train-000-00000.tok.tmp-1"));
  EXPECT_OK(OpenPrepared(spec.folder));
}

TEST_F(PrepareTest, TakesATokenizerThatIsThere) {
  ASSERT_OK(Prepare(SmallSpec("one")));
  PrepareSpec spec = SmallSpec("two");
  ASSERT_OK_AND_ASSIGN(spec.tokenizer_json, ReadFile(folder_.path() / "one" / "tokenizer.json"));
  spec.vocab_size = 1;  // of no concern
  ASSERT_OK(Prepare(spec));
  EXPECT_EQ(*ReadFile(spec.folder / "tokenizer.json"), spec.tokenizer_json);
  spec.end_of_text = "<|nothing|>";
  EXPECT_THAT(Prepare(spec), StatusIs(StatusCode::kInvalidArgument, HasSubstr("<|nothing|>")));
}

TEST_F(PrepareTest, TakesTheVocabularyThatASmallTextHas) {
  PrepareSpec spec = SmallSpec();
  spec.vocab_size = 50000;
  ASSERT_OK(Prepare(spec));
  ASSERT_OK_AND_ASSIGN(const PreparedData data, OpenPrepared(spec.folder));
  EXPECT_LT(data.tokenizer->vocab_size(), 50000);
  ASSERT_OK_AND_ASSIGN(const SourceSummary summary, CheckSource(spec.train[0]));
  EXPECT_EQ(summary.largest_vocabulary, data.tokenizer->vocab_size());
}

TEST_F(PrepareTest, NamesWhatIsWrong) {
  PrepareSpec spec = SmallSpec();
  spec.train[0].files.push_back({folder_.path() / "gone.txt", "gone.txt"});
  EXPECT_THAT(Prepare(spec), StatusIs(StatusCode::kNotFound,
                                      AllOf(HasSubstr("data.train[0]"), HasSubstr("gone.txt"))));
  spec = SmallSpec();
  spec.validation[0].files[0] = FileAt(folder_.Write("bad.txt", "x\xff"));
  EXPECT_THAT(Prepare(spec),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("data.validation[0]"), HasSubstr("offset 1 "))));
  EXPECT_FALSE(std::filesystem::exists(spec.folder / kManifestName));
  spec = SmallSpec();
  spec.on_progress = [](const PrepareProgress&) { return Aborted("told to stop"); };
  EXPECT_THAT(Prepare(spec), StatusIs(StatusCode::kAborted, HasSubstr("told to stop")));
}

TEST_F(PrepareTest, TrainsATokenizerOnABoundedPartOfTheText) {
  PrepareSpec spec = SmallSpec();
  spec.tokenizer_training_bytes_max = 2;  // one batch of each source
  EXPECT_OK(Prepare(spec));
  EXPECT_EQ(TrainTokenizer(spec)->json(), *ReadFile(spec.folder / "tokenizer.json"));
}

TEST_F(PrepareTest, TrainsTheKindOfTokenizerThatIsAskedFor) {
  PrepareSpec spec = SmallSpec();
  const std::string repeated = [] {
    std::string text;
    for (int i = 0; i < 20; ++i) text += "the cats and the dogs are playing with cats and dogs\n";
    return text;
  }();
  spec.train[0].files = {FileAt(folder_.Write("pets.txt", repeated))};
  spec.with_mask_token = true;
  for (const auto& [kind, size, mask] :
       {std::tuple{"wordpiece", 50, "[MASK]"}, std::tuple{"unigram", 302, "<mask>"}}) {
    spec.tokenizer_type = kind;
    spec.vocab_size = size;
    ASSERT_OK(Prepare(spec));
    ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer,
                         Tokenizer::Load(*ReadFile(spec.folder / "tokenizer.json")));
    EXPECT_EQ(tokenizer.vocab_size(), size);
    EXPECT_TRUE(tokenizer.TokenToId(mask).has_value()) << kind;
  }
  spec.tokenizer_type = "morse";
  EXPECT_THAT(Prepare(spec), StatusIs(StatusCode::kInvalidArgument, HasSubstr("morse")));
}

TEST_F(PrepareTest, ADamagedFolderIsRefusedByName) {
  const PrepareSpec spec = SmallSpec();
  ASSERT_OK(Prepare(spec));
  ASSERT_OK(OpenPrepared(spec.folder));
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(spec.folder))
    if (entry.path().filename() != kManifestName) paths.push_back(entry.path());
  ASSERT_EQ(paths.size(), 4u);
  for (const auto& path : paths) {
    const std::string bytes = *ReadFile(path);
    std::string flipped = bytes;
    flipped[bytes.size() / 2] ^= 4;
    ASSERT_OK(WriteFileAtomically(path, flipped));
    EXPECT_THAT(OpenPrepared(spec.folder),
                StatusIs(StatusCode::kDataLoss, HasSubstr(path.filename().string())));
    ASSERT_OK(WriteFileAtomically(path, bytes));
  }
  // One whole shard in another's place.
  std::filesystem::copy_file(spec.folder / "train-000-00000.tok",
                             spec.folder / "train-001-00000.tok",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(OpenPrepared(spec.folder),
              StatusIs(StatusCode::kDataLoss, HasSubstr("train-001-00000.tok")));
  ASSERT_OK(WriteFileAtomically(spec.folder / kManifestName, "{\"version\": 1}"));
  EXPECT_THAT(OpenPrepared(spec.folder), StatusIs(StatusCode::kDataLoss, HasSubstr(kManifestName)));
}

TEST_F(PrepareTest, CountsASource) {
  const auto summary = CheckSource(SmallSpec().train[0]);
  ASSERT_OK(summary);
  EXPECT_EQ(summary->files, 2);
  EXPECT_EQ(summary->documents, 2);
  EXPECT_EQ(summary->longest_document_bytes, static_cast<int64_t>(Lines(200).size()));
}

TEST_F(PrepareTest, PreparesRealTextAndGivesItBack) {
  const auto play = kData / "text/tinyshakespeare.txt";
  if (!std::filesystem::exists(play)) GTEST_SKIP() << play << " is not there";
  PrepareSpec spec;
  spec.train = {{.files = {FileAt(play)}},
                {.files = {FileAt(kData / "wikitext-2/test.txt")}, .weight = 2}};
  spec.validation = {{.files = {FileAt(kData / "wikitext-2/valid.txt")}}};
  spec.folder = folder_.path() / "real";
  ASSERT_OK(Prepare(spec));
  ASSERT_OK_AND_ASSIGN(const PreparedData data, OpenPrepared(spec.folder));
  EXPECT_EQ(Texts(data, data.train[0]), std::vector<std::string>{*ReadFile(play)});
  // A 1.1 MB play is encoded in two pieces; the tokens are those of the whole.
  ASSERT_OK_AND_ASSIGN(auto whole, data.tokenizer->Encode(*ReadFile(play)));
  whole.push_back(data.end_of_text);
  const TokenShard& shard = *data.train[0].shards[0];
  std::vector<int32_t> ids(static_cast<size_t>(shard.tokens()));
  shard.CopyTokens(0, shard.tokens(), ids.data());
  EXPECT_EQ(ids, whole);
  ASSERT_OK_AND_ASSIGN(const auto rows, EvaluationRows::Create(data.validation, 256, 64));
  EXPECT_EQ(rows.targets(), 64 * 256);
  EXPECT_GT(rows.source_bytes(), 2.5 * 64 * 256);
  ASSERT_OK_AND_ASSIGN(Loader loader, Loader::Create(data.train, {}));
  ASSERT_OK_AND_ASSIGN(const auto batches, loader.MicroBatches(1000, 1, 2, 8));
  EXPECT_EQ(batches.size(), 2u);
}

}  // namespace
}  // namespace trainyard::worker

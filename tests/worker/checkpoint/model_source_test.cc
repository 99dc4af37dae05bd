// Hugging Face folders as ModelSource opens them; GGUF files are gguf_weights_test.cc.
#include "worker/checkpoint/model_source.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/float_formats.h"
#include "worker/checkpoint/safetensors_writer.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kEmbedding[] = "model.embed_tokens.weight";

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
  TensorType type = TensorType::kF32;
};

class ModelSourceTest : public testing::Test {
 protected:
  void SetUp() override { Config(R"({"model_type": "llama", "tie_word_embeddings": true})"); }
  void Config(const std::string& text) {
    ASSERT_OK(WriteFileAtomically(folder_.path() / "config.json", text));
  }
  void Write(const std::string& name, const std::vector<Tensor>& tensors) {
    std::vector<TensorToWrite> list;
    for (const Tensor& t : tensors)
      list.push_back(
          {t.name, t.type, t.shape, t.values.data(), static_cast<int64_t>(t.values.size())});
    std::filesystem::remove(folder_.path() / name);
    ASSERT_OK(WriteSafetensors(folder_.path() / name, list));
  }
  void Index(const std::string& text) {
    ASSERT_OK(WriteFileAtomically(folder_.path() / "model.safetensors.index.json", text));
  }
  StatusOr<ModelSource> Open() { return ModelSource::Open(folder_.path()); }
  std::vector<std::string> Names(const ModelSource& source) {
    std::vector<std::string> names;
    for (const SourceTensor& tensor : source.tensors()) names.push_back(tensor.name);
    return names;
  }

  TempFolder folder_{FolderInMemory()};
};

auto IsBad(StatusCode code, const std::string& what) { return StatusIs(code, HasSubstr(what)); }

TEST_F(ModelSourceTest, OldNamesAreRenamedAndBuffersDropped) {
  Config(R"({"model_type": "gpt2"})");
  Write("model.safetensors", {{"wte.weight", {2, 1}, {1, 2}},
                              {"h.0.attn.bias", {1}, {1}},
                              {"h.0.attn.c_attn.bias", {3}, {1, 2, 3}},
                              {"lm_head.weight", {2, 1}, {1, 2}}});
  ASSERT_OK_AND_ASSIGN(const ModelSource source, Open());
  EXPECT_THAT(Names(source),
              ElementsAre("transformer.wte.weight", "transformer.h.0.attn.c_attn.bias"));
}

TEST_F(ModelSourceTest, AHeadThatIsTiedMustBeTheEmbedding) {
  Write("model.safetensors", {{kEmbedding, {2, 1}, {1, 2}}, {"lm_head.weight", {2, 1}, {1, 2.5}}});
  EXPECT_THAT(Open(), StatusIs(StatusCode::kInvalidArgument,
                               AllOf(HasSubstr("lm_head.weight"), HasSubstr(kEmbedding))));
  Config(R"({"model_type": "llama", "tie_word_embeddings": false})");
  ASSERT_OK_AND_ASSIGN(const ModelSource untied, Open());
  EXPECT_THAT(Names(untied), ElementsAre(kEmbedding, "lm_head.weight"));
  Config(R"({"model_type": "llama", "tie_word_embeddings": true})");
  Write("model.safetensors", {{kEmbedding, {2, 1}, {1, 2}}, {"lm_head.weight", {1, 2}, {1, 2}}});
  EXPECT_THAT(Open(), IsBad(StatusCode::kInvalidArgument, "[1, 2]"));
  // Copies may have another type; and the copy may be all there is.
  Write("model.safetensors",
        {{kEmbedding, {2, 1}, {1, 2}}, {"lm_head.weight", {2, 1}, {1, 2}, TensorType::kBF16}});
  ASSERT_OK_AND_ASSIGN(const ModelSource tied, Open());
  EXPECT_THAT(Names(tied), ElementsAre(kEmbedding));
  Write("model.safetensors", {{"lm_head.weight", {2, 1}, {1, 2}}});
  ASSERT_OK_AND_ASSIGN(const ModelSource alone, Open());
  EXPECT_THAT(Names(alone), ElementsAre(kEmbedding));
}

TEST_F(ModelSourceTest, TwoTensorsOfOneNameAreRefused) {
  Write("model.safetensors", {{kEmbedding, {1}, {1}}, {"embed_tokens.weight", {1}, {1}}});
  EXPECT_THAT(Open(), IsBad(StatusCode::kInvalidArgument, "a second"));
}

TEST_F(ModelSourceTest, ReadsPiecesAndBytesInTheirOwnType) {
  std::vector<float> values(600'000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 251) - 125;
  Write("model.safetensors", {{kEmbedding, {600, 1000}, values, TensorType::kBF16}});
  ASSERT_OK_AND_ASSIGN(const ModelSource source, Open());
  const SourceTensor& tensor = *source.Find(kEmbedding);
  EXPECT_EQ(tensor.stored, "BF16");
  std::vector<float> read;
  ASSERT_OK(source.VisitFloats(tensor, [&](std::span<const float> piece) {
    read.insert(read.end(), piece.begin(), piece.end());
    return OkStatus();
  }));
  EXPECT_EQ(read, values);
  std::string bytes;
  ASSERT_OK(source.VisitBytes(tensor, [&](std::string_view piece) {
    bytes += piece;
    return OkStatus();
  }));
  ASSERT_EQ(bytes.size(), 2 * values.size());
  uint16_t last;
  std::memcpy(&last, bytes.data() + bytes.size() - 2, 2);
  EXPECT_EQ(FloatFromBfloat16(last), values.back());
}

TEST_F(ModelSourceTest, WeightsThatAreNotFiniteAreRefusedByNameAndPlace) {
  for (const TensorType type : {TensorType::kF32, TensorType::kBF16}) {
    for (const float bad : {std::nanf(""), HUGE_VALF}) {
      std::vector<float> values(300'000, 1.0f);
      values[299'999] = bad;
      Write("model.safetensors", {{kEmbedding, {300'000}, values, type}});
      ASSERT_OK_AND_ASSIGN(const ModelSource source, Open());
      const auto is_refused = StatusIs(
          StatusCode::kDataLoss,
          AllOf(HasSubstr("model.safetensors"), HasSubstr(kEmbedding), HasSubstr("value 299999")));
      const SourceTensor& tensor = *source.Find(kEmbedding);
      EXPECT_THAT(source.ReadFloats(tensor, 0, values), is_refused);
      EXPECT_THAT(source.VisitBytes(tensor, [](std::string_view) { return OkStatus(); }),
                  is_refused);
    }
  }
}

TEST_F(ModelSourceTest, NoPlaceOfAValueHidesIt) {
  const std::pair<TensorType, uint32_t> infinities[] = {
      {TensorType::kF32, 0xFF800000}, {TensorType::kF16, 0x7C01}, {TensorType::kBF16, 0xFF80}};
  for (const auto& [type, bits] : infinities) {
    const auto size = static_cast<size_t>(SizeOf(type));
    for (size_t bad = 0; bad <= 11; ++bad) {  // 11: none
      // Next to it the largest finite values, which must not pass for others.
      std::string bytes(11 * size, '\0');
      for (size_t i = 0; i < 11; ++i) {
        const uint32_t value = i == bad ? bits : type == TensorType::kF16 ? 0xFBFF : 0xFF7FFFFF;
        std::memcpy(
            bytes.data() + i * size,
            reinterpret_cast<const char*>(&value) + (type == TensorType::kBF16 && i != bad ? 2 : 0),
            size);
      }
      std::filesystem::remove(folder_.path() / "model.safetensors");
      ASSERT_OK_AND_ASSIGN(SafetensorsWriter writer,
                           SafetensorsWriter::Create(folder_.path() / "model.safetensors",
                                                     {{kEmbedding, type, {11}}}));
      ASSERT_OK(writer.WriteBytes(bytes));
      ASSERT_OK(writer.Finish());
      ASSERT_OK_AND_ASSIGN(const ModelSource source, Open());
      const Status seen =
          source.VisitBytes(source.tensors()[0], [](std::string_view) { return OkStatus(); });
      if (bad == 11)
        EXPECT_OK(seen);
      else
        EXPECT_THAT(seen, IsBad(StatusCode::kDataLoss, fmt::format("value {} of", bad)));
    }
  }
}

TEST_F(ModelSourceTest, ReadsShardsThatTheIndexNames) {
  Write("model-1.safetensors", {{kEmbedding, {2, 1}, {1, 2}}});
  Write("model-2.safetensors", {{"model.norm.weight", {1}, {3}}});
  Index(R"({"metadata": {"total_size": 12}, "weight_map": {
    "model.embed_tokens.weight": "model-1.safetensors", "model.norm.weight": "model-2.safetensors"}})");
  ASSERT_OK_AND_ASSIGN(const ModelSource source, Open());
  std::vector<float> value(1);
  ASSERT_OK(source.ReadFloats(*source.Find("model.norm.weight"), 0, value));
  EXPECT_EQ(value[0], 3.0f);
}

TEST_F(ModelSourceTest, NotesATotalSizeThatIsNotTheTensorsAndReadsThemAll) {
  Config(R"({"model_type": "llama"})");
  Write("a.safetensors", {{kEmbedding, {2}, {1, 2}}});
  Write("b.safetensors", {{"model.norm.weight", {1}, {3}}});
  const auto with_headers = std::filesystem::file_size(folder_.path() / "a.safetensors") +
                            std::filesystem::file_size(folder_.path() / "b.safetensors");
  const auto notes_on = [&](const std::string& total_size) {
    Index(fmt::format(R"({{"metadata": {{"total_size": {}}}, "weight_map": {{
      "model.embed_tokens.weight": "a.safetensors", "model.norm.weight": "b.safetensors"}}}})",
                      total_size));
    const StatusOr<ModelSource> source = Open();
    EXPECT_OK(source.status());
    EXPECT_EQ(source->tensors().size(), 2u);
    return source->Notes();
  };
  for (const std::string& wrong : {std::to_string(with_headers), std::string("13"),
                                   std::string("\"12\""), std::string("-1")}) {
    EXPECT_THAT(notes_on(wrong),
                ElementsAre(AllOf(HasSubstr("index.json"), HasSubstr("total_size is " + wrong),
                                  HasSubstr("12 bytes"))));
  }
  EXPECT_THAT(notes_on("12"), IsEmpty());
  EXPECT_THAT(notes_on("12.0"), IsEmpty());
}

TEST_F(ModelSourceTest, CallsAGitLfsPointerOneInEveryFileOfTheFolder) {
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\n"
      "oid sha256:" +
      std::string(64, 'a') + "\nsize 123456\n";
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "config.json"}) {
    ASSERT_OK(WriteFileAtomically(folder_.path() / name, pointer));
    EXPECT_THAT(Open(), IsBad(StatusCode::kInvalidArgument, "Git LFS pointer")) << name;
    EXPECT_THAT(Open(), IsBad(StatusCode::kInvalidArgument, name)) << name;
    std::filesystem::remove(folder_.path() / name);
    Config(R"({"model_type": "llama"})");
  }
  ASSERT_OK(WriteFileAtomically(folder_.path() / "model.gguf", pointer));
  EXPECT_THAT(ModelSource::Open(folder_.path() / "model.gguf"),
              IsBad(StatusCode::kInvalidArgument, "Git LFS pointer"));
}

TEST_F(ModelSourceTest, NamesTheKeysOfAConfigThatAreNotRead) {
  Config(R"({"model_type": "llama", "moon_phase": 3, "torch_dtype": "float16", "old": null})");
  Write("model.safetensors", {{kEmbedding, {1}, {1}}});
  ASSERT_OK_AND_ASSIGN(const ModelSource source, Open());
  EXPECT_THAT(source.Notes(), ElementsAre(AllOf(HasSubstr("config.json"), HasSubstr("moon_phase"),
                                                Not(HasSubstr("dtype")), Not(HasSubstr("old")))));
}

TEST_F(ModelSourceTest, RefusesAnIndexThatDisagreesWithItsShards) {
  Write("a.safetensors", {{"x", {2}, {1, 2}}});
  Write("b.safetensors", {{"y", {1}, {3}}});
  const std::pair<const char*, const char*> cases[] = {
      {R"({"weight_map": {"x": "a.safetensors"})", "JSON"},
      {R"({"weight_map": {}})", "no weight_map"},
      {R"([1])", "no weight_map"},
      {R"({"weight_map": {"x": 3}})", "\"x\""},
      {R"({"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}})", "twice"},
      {R"({"weight_map": {"x": "../a.safetensors"}})", "plain name"},
      {R"({"weight_map": {"x": "/etc/passwd.safetensors"}})", "plain name"},
      {R"({"weight_map": {"x": ".safetensors"}})", "plain name"},
      {R"({"weight_map": {"x": "a.bin"}})", "plain name"},
      {R"({"weight_map": {"x": "a.safetensors", "z": "b.safetensors"}})", "\"y\""},
      {R"({"weight_map": {"x": "a.safetensors", "y": "b.safetensors", "z": "b.safetensors"}})",
       "\"z\""},
      {R"({"weight_map": {"x": "b.safetensors", "y": "a.safetensors"}})", "puts into"},
  };
  for (const auto& [index, what] : cases) {
    Index(index);
    EXPECT_THAT(Open(),
                StatusIs(StatusCode::kDataLoss, AllOf(HasSubstr(what), HasSubstr("index.json"))))
        << index;
  }
  Index(R"({"weight_map": {"x": "none.safetensors"}})");
  EXPECT_THAT(Open(), IsBad(StatusCode::kNotFound, "none.safetensors"));
}

TEST_F(ModelSourceTest, SaysWhatAFolderLacks) {
  EXPECT_THAT(Open(), IsBad(StatusCode::kNotFound, "neither"));
  ASSERT_OK(WriteFileAtomically(folder_.path() / "pytorch_model.bin", "x"));
  EXPECT_THAT(Open(), IsBad(StatusCode::kNotFound, "pickle"));
  Write("model.safetensors", {{kEmbedding, {1}, {1}}});
  for (const char* config : {"", "[]", R"({"model_type": 3})", "{\"model_type\": \"llama\"",
                             "{\"model_type\": \"llama\"} x"}) {
    Config(config);
    EXPECT_THAT(Open(), IsBad(StatusCode::kInvalidArgument, "config.json")) << config;
  }
  std::filesystem::remove(folder_.path() / "config.json");
  EXPECT_THAT(Open(), IsBad(StatusCode::kNotFound, "config.json"));
  EXPECT_THAT(ModelSource::Open(folder_.path() / "none"), IsBad(StatusCode::kNotFound, "none"));
}

TEST_F(ModelSourceTest, WeightsAreFloats) {
  const std::string header =
      R"({"model.norm.weight":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})";
  const uint64_t length = header.size();
  ASSERT_OK(WriteFileAtomically(
      folder_.path() / "model.safetensors",
      std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(8, '\0')));
  EXPECT_THAT(Open(), IsBad(StatusCode::kInvalidArgument, "I64"));
}

TEST_F(ModelSourceTest, ReadWeightsPassesOverOtherHeadsAlone) {
  Config(R"({"model_type": "bert"})");
  Write("model.safetensors",
        {{"embeddings.word_embeddings.weight", {2}, {1, 2}}, {"pooler.dense.bias", {1}, {9}}});
  std::vector<float> values(2);
  const ParameterView view{.name = "bert.embeddings.word_embeddings.weight",
                           .shape = {2},
                           .master = values.data(),
                           .count = 2};
  ASSERT_OK(ReadWeights(folder_.path(), std::span(&view, 1)));
  EXPECT_THAT(values, ElementsAre(1, 2));
  Write("model.safetensors",
        {{"embeddings.word_embeddings.weight", {2}, {1, 2}}, {"classifier.bias", {1}, {9}}});
  EXPECT_THAT(ReadWeights(folder_.path(), std::span(&view, 1)),
              IsBad(StatusCode::kInvalidArgument, "classifier.bias"));
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/checkpoint/gguf_writer.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "worker/checkpoint/ggml_blocks.h"
#include "worker/checkpoint/gguf.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(GgufWriter, WritesWhatTheReaderReads) {
  TempFolder folder;
  const auto path = folder.path() / "model.gguf";
  const GgufWriter::Keys keys = {{"general.architecture", GgufString("llama")},
                                 {"llama.block_count", GgufUint32(2)},
                                 {"eps", GgufFloat32(1e-5f)},
                                 {"flag", GgufBool(true)},
                                 {"tokens", GgufStrings({"a", "", "\xc4\xa0"})},
                                 {"types", GgufInt32s({1, -3})},
                                 {"scores", GgufFloat32s({0.5, -1})}};
  ASSERT_OK_AND_ASSIGN(GgufWriter writer, GgufWriter::Create(path, keys,
                                                             {{"a", GgmlType::kF32, {1, 3}},
                                                              {"b", GgmlType::kQ8_0, {2, 32}}}));
  ASSERT_OK(writer.Write(std::vector<float>{1, 2, 3}));
  ASSERT_OK(writer.Write(std::vector<float>(32, 127)));
  ASSERT_OK(writer.Write(std::vector<float>(32, -254)));
  ASSERT_OK_AND_ASSIGN(const FileDigest digest, writer.Finish());
  EXPECT_EQ(digest.sha256, *Sha256OfFile(path));

  ASSERT_OK_AND_ASSIGN(const GgufFile file, GgufFile::Open(path));
  EXPECT_EQ(*file.metadata().Text("general.architecture"), "llama");
  EXPECT_EQ(*file.metadata().Integer("llama.block_count"), 2);
  EXPECT_EQ(*file.metadata().Real("eps"), double{1e-5f});
  EXPECT_EQ(*file.metadata().Bool("flag"), true);
  EXPECT_THAT(*file.metadata().Texts("tokens"), ElementsAre("a", "", "\xc4\xa0"));
  EXPECT_THAT(*file.metadata().Integers("types"), ElementsAre(1, -3));
  EXPECT_THAT(*file.metadata().Reals("scores"), ElementsAre(0.5, -1));
  std::vector<float> values(64);
  ASSERT_OK(file.ReadFloats(*file.Find("b"), 0, values));
  EXPECT_EQ(values[31], 127.0f);
  EXPECT_EQ(values[32], -254.0f);
  EXPECT_THAT(file.Find("a")->shape, ElementsAre(1, 3));
}

TEST(GgufWriter, RefusesWhatReadersWouldRefuse) {
  TempFolder folder;
  const auto path = folder.path() / "model.gguf";
  const auto create = [&](const GgufWriter::Keys& keys, std::vector<GgufTensorSpec> tensors) {
    return GgufWriter::Create(path, keys, std::move(tensors)).status();
  };
  const auto is_bad = [](const char* what) {
    return StatusIs(StatusCode::kInvalidArgument, HasSubstr(what));
  };
  const GgufTensorSpec good = {"a", GgmlType::kF32, {2}};
  EXPECT_THAT(create({{"k", GgufBool(true)}, {"k", GgufBool(true)}}, {}), is_bad("\"k\""));
  EXPECT_THAT(create({}, {good, good}), is_bad("twice"));
  EXPECT_THAT(create({}, {{std::string(64, 'n'), GgmlType::kF32, {2}}}), is_bad("63 bytes"));
  EXPECT_THAT(create({}, {{"a", GgmlType::kQ8_0, {2, 16}}}), is_bad("[2, 16]"));
  EXPECT_THAT(create({}, {{"a", GgmlType::kF32, {0}}}), is_bad("[0]"));
  EXPECT_THAT(create({}, {{"a", GgmlType::kF32, {1, 1, 1, 1, 1}}}), is_bad("shape"));
  EXPECT_THAT(create({}, {{"a", GgmlType::kF32, {int64_t{1} << 62}}}), is_bad("shape"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(GgufWriter, NamesTheTensorWhoseTypeCannotHoldAValue) {
  TempFolder folder;
  const auto write = [&](GgmlType type, float value) {
    const auto path = folder.path() / RandomHex(4);
    auto writer = GgufWriter::Create(path, {}, {{"weights", type, {32}}});
    EXPECT_OK(writer);
    return writer->Write(std::vector<float>(32, value));
  };
  const auto is_bad = StatusIs(StatusCode::kInvalidArgument, HasSubstr("weights"));
  EXPECT_OK(write(GgmlType::kF16, 65504));
  EXPECT_THAT(write(GgmlType::kF16, 65520), is_bad);
  EXPECT_THAT(write(GgmlType::kQ8_0, 1e8f), is_bad);
  EXPECT_THAT(write(GgmlType::kQ4_0, 1e8f), is_bad);
  EXPECT_OK(write(GgmlType::kF32, 1e8f));
  for (const GgmlType type : {GgmlType::kF32, GgmlType::kBF16, GgmlType::kQ8_0}) {
    EXPECT_THAT(write(type, std::nanf("")), is_bad);
    EXPECT_THAT(write(type, HUGE_VALF), is_bad);
  }
  EXPECT_THAT(write(GgmlType::kQ5_1, 1), StatusIs(StatusCode::kUnimplemented, HasSubstr("Q5_1")));
}

}  // namespace
}  // namespace trainyard::worker

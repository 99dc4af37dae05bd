#include "worker/checkpoint/gguf.h"

#include <gmock/gmock.h>

#include <cstring>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/worker/checkpoint/gguf_bytes.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ2_K = 10;

StatusOr<GgufHeader> Parse(const std::string& bytes) {
  return ParseGgufHeader(
      [&](int64_t offset, std::span<std::byte> out) {
        EXPECT_LE(static_cast<size_t>(offset) + out.size(), bytes.size());
        std::memcpy(out.data(), bytes.data() + offset, out.size());
        return OkStatus();
      },
      static_cast<int64_t>(bytes.size()));
}

// Two tensors, 24 and 8 bytes, the first padded to 32.
GgufParts TwoTensors() {
  return {.keys = {GgufTextKey("general.architecture", "llama")},
          .tensors = {GgufTensorEntry("a", {3, 2}, kF32, 0), GgufTensorEntry("b", {4}, kF16, 32)},
          .data = Le(1.0f) + Le(2.0f) + Le(3.0f) + Le(4.0f) + Le(5.0f) + Le(6.0f) +
                  std::string(8, '\0') + std::string("\x00\x3c\x00\xc0\x00\x00\x00\x3c", 8)};
}

TEST(Gguf, ReadsTensorsOfAFile) {
  TempFolder folder;
  const auto path = folder.path() / "model.gguf";
  ASSERT_OK(WriteFileAtomically(path, TwoTensors().Bytes()));
  ASSERT_OK_AND_ASSIGN(const GgufFile file, GgufFile::Open(path));
  EXPECT_EQ(*file.metadata().Text("general.architecture"), "llama");
  ASSERT_NE(file.Find("a"), nullptr);
  EXPECT_THAT(file.Find("a")->shape, ElementsAre(2, 3));  // outermost first
  std::vector<float> values(3);
  ASSERT_OK(file.ReadFloats(*file.Find("a"), 3, values));
  EXPECT_THAT(values, ElementsAre(4, 5, 6));
  ASSERT_OK(file.ReadFloats(*file.Find("b"), 1, values));
  EXPECT_THAT(values, ElementsAre(-2, 0, 1));
  EXPECT_EQ(file.Find("c"), nullptr);
}

TEST(Gguf, ReadsEveryKindOfValue) {
  const GgufParts parts = {
      .version = 2,
      .keys = {
          GgufKey("u8", 0, Le(uint8_t{200})), GgufKey("i8", 1, Le(int8_t{-3})),
          GgufKey("u16", 2, Le(uint16_t{60000})), GgufKey("i16", 3, Le(int16_t{-300})),
          GgufKey("i32", 5, Le(int32_t{-70000})), GgufFloatKey("f32", 0.1f),
          GgufKey("bool", 7, Le(uint8_t{1})), GgufTextKey("text", "gr\xc3\xbc\xc3\x9f"),
          GgufKey("u64", 10, Le(UINT64_MAX)), GgufKey("i64", 11, Le(INT64_MIN)),
          GgufKey("f64", 12, Le(0.1)),
          GgufKey("texts", 9, Le(uint32_t{8}) + Le(uint64_t{2}) + GgufText("a") + GgufText("")),
          GgufKey("numbers", 9,
                  Le(uint32_t{5}) + Le(uint64_t{2}) + Le(int32_t{-1}) + Le(int32_t{7})),
          GgufKey("reals", 9, Le(uint32_t{6}) + Le(uint64_t{1}) + Le(2.5f)),
          GgufKey("nested", 9,
                  Le(uint32_t{9}) + Le(uint64_t{2}) + Le(uint32_t{7}) + Le(uint64_t{1}) +
                      Le(uint8_t{1}) + Le(uint32_t{8}) + Le(uint64_t{0}))}};
  ASSERT_OK_AND_ASSIGN(const GgufHeader header, Parse(parts.Bytes()));
  const GgufMetadata& keys = header.metadata;
  EXPECT_EQ(*keys.Integer("u8"), 200);
  EXPECT_EQ(*keys.Integer("i8"), -3);
  EXPECT_EQ(*keys.Integer("u16"), 60000);
  EXPECT_EQ(*keys.Integer("i16"), -300);
  EXPECT_EQ(*keys.Integer("i32"), -70000);
  EXPECT_EQ(*keys.Real("f32"), double{0.1f});
  EXPECT_EQ(*keys.Bool("bool"), true);
  EXPECT_EQ(*keys.Text("text"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(*keys.Integer("i64"), INT64_MIN);
  EXPECT_EQ(*keys.Real("f64"), 0.1);
  EXPECT_THAT(*keys.Texts("texts"), ElementsAre("a", ""));
  EXPECT_THAT(*keys.Integers("numbers"), ElementsAre(-1, 7));
  EXPECT_THAT(*keys.Reals("reals"), ElementsAre(2.5));
  const auto& nested = std::get<GgufList>(keys.Find("nested")->value);
  EXPECT_EQ(std::get<std::vector<GgufList>>(nested.items).size(), 2u);
  const auto is = [](StatusCode code, const char* key) { return StatusIs(code, HasSubstr(key)); };
  EXPECT_THAT(keys.Integer("u64"), is(StatusCode::kInvalidArgument, "u64"));
  EXPECT_THAT(keys.Integer("text"), is(StatusCode::kInvalidArgument, "text"));
  EXPECT_THAT(keys.Texts("numbers"), is(StatusCode::kInvalidArgument, "numbers"));
  EXPECT_THAT(keys.Text("none"), is(StatusCode::kNotFound, "none"));
}

struct Seed {
  const char* rule;
  std::string bytes;
  const char* message;
  StatusCode code = StatusCode::kDataLoss;
};

std::string WithKey(const std::string& key) { return GgufParts{.keys = {key}}.Bytes(); }
std::string WithCounts(uint64_t tensors, uint64_t keys, const std::string& rest = "") {
  return "GGUF" + Le(uint32_t{3}) + Le(tensors) + Le(keys) + rest;
}
std::string List(uint32_t element, uint64_t count, const std::string& items) {
  return Le(element) + Le(count) + items;
}

std::vector<Seed> HeadSeeds() {
  return {
      {"Empty", "", "are needed"},
      {"Magic", "GGML" + Le(uint32_t{3}), "does not begin"},
      {"VersionOne", GgufParts{.version = 1}.Bytes(), "version is 1", StatusCode::kUnimplemented},
      {"BigEndian", GgufParts{.version = 0x03000000}.Bytes(), "big-endian",
       StatusCode::kUnimplemented},
      {"CutBeforeCounts", "GGUF" + Le(uint32_t{3}) + "1234", "are needed"},
      {"AbsurdKeys", WithCounts(0, UINT64_MAX, std::string(100, 'x')), "18446744073709551615 keys"},
      {"AbsurdTensors", WithCounts(uint64_t{1} << 63, 0, std::string(100, 'x')),
       "tensors; at most"},
      {"MoreKeysThanRoom", WithCounts(0, 9, std::string(100, 'x')), "9 keys"},
      {"MoreTensorsThanRoom", WithCounts(5, 0, std::string(100, 'x')), "5 tensors"},
      {"KeyLongerThanFile", WithCounts(0, 1, Le(uint64_t{1} << 40) + std::string(20, 'x')),
       "a string announces"},
      {"KeyEmpty", WithKey(GgufIntKey("", 1)), "empty or not UTF-8"},
      {"KeyNotUtf8", WithKey(GgufIntKey("\xff", 1)), "empty or not UTF-8"},
      {"KeyTwice", GgufParts{.keys = {GgufIntKey("k", 1), GgufIntKey("k", 1)}}.Bytes(), "twice"},
      {"ValueType", WithKey(GgufKey("k", 13, "12345678")), "value type 13"},
      {"ValueCut", WithCounts(0, 1, GgufText("kk") + Le(uint32_t{10}) + "123"), "key \"kk\""},
      {"BoolTwo", WithKey(GgufKey("k", 7, Le(uint8_t{2}))), "a bool is 2"},
      {"ListOfUnknown", WithKey(GgufKey("k", 9, List(99, 1, "x"))), "value type 99"},
      {"ListAbsurd", WithKey(GgufKey("k", 9, List(0, uint64_t{1} << 62, "x"))), "list announces"},
      {"ListOfStringsAbsurd", WithKey(GgufKey("k", 9, List(8, 5, "x"))), "list announces 5"},
      {"ListTooDeep",
       WithKey(GgufKey(
           "k", 9,
           List(9, 1, List(9, 1, List(9, 1, List(9, 1, List(0, 1, std::string(40, 'x')))))))),
       "deeper than 4"},
      {"AlignmentNotAPower", WithKey(GgufIntKey("general.alignment", 24)), "power of two"},
      {"AlignmentZero", WithKey(GgufIntKey("general.alignment", 0)), "power of two"},
      {"AlignmentOfOtherType", WithKey(GgufTextKey("general.alignment", "32")), "power of two"},
      {"BytesAfterNoTensors", GgufParts{.data = "x"}.Bytes(), "but the file at"},
  };
}

// One tensor and the data after it.
std::string WithTensor(const std::string& entry, size_t data_bytes) {
  return GgufParts{.tensors = {entry}, .data = std::string(data_bytes, '\0')}.Bytes();
}

std::vector<Seed> TensorSeeds() {
  const std::string a = GgufTensorEntry("a", {8}, kF32, 0);  // 32 bytes
  const auto with_b = [&](uint64_t offset, size_t data_bytes) {
    return GgufParts{.tensors = {a, GgufTensorEntry("b", {8}, kF32, offset)},
                     .data = std::string(data_bytes, '\0')}
        .Bytes();
  };
  return {
      {"NameEmpty", WithTensor(GgufTensorEntry("", {8}, kF32, 0), 32), "empty or not UTF-8"},
      {"NameTooLong", WithTensor(GgufTensorEntry(std::string(256, 'n'), {8}, kF32, 0), 32),
       "255 allowed"},
      {"NameTwice", GgufParts{.tensors = {a, a}, .data = std::string(32, '\0')}.Bytes(), "twice"},
      {"FiveDims", WithTensor(GgufTensorEntry("a", {2, 2, 2, 1, 1}, kF32, 0), 32), "5 dims"},
      {"DimZero", WithTensor(GgufTensorEntry("a", {0}, kF32, 0), 0), "a dim is 0"},
      {"DimsWrap",
       WithTensor(GgufTensorEntry("a", {uint64_t{1} << 32, uint64_t{1} << 32}, kF32, 0), 32),
       "63 bits"},
      {"BytesWrap", WithTensor(GgufTensorEntry("a", {uint64_t{1} << 62}, kF32, 0), 32), "63 bits"},
      {"TypeUnknown", WithTensor(GgufTensorEntry("a", {8}, 77, 0), 32), "type 77"},
      {"TypeGivenUp", WithTensor(GgufTensorEntry("a", {8}, 4, 0), 32), "type 4"},
      {"TypeNotRead", WithTensor(GgufTensorEntry("a", {256}, kQ2_K, 0), 84), "Q2_K",
       StatusCode::kUnimplemented},
      {"RowNotWholeBlocks", WithTensor(GgufTensorEntry("a", {16, 2}, kQ4_0, 0), 18), "whole Q4_0"},
      {"OffsetBeyondFile", WithTensor(GgufTensorEntry("a", {8}, kF32, uint64_t{1} << 63), 32),
       "beyond the file"},
      {"HoleBeforeFirst", WithTensor(GgufTensorEntry("a", {8}, kF32, 32), 64), "begins at byte"},
      {"Overlap", with_b(0, 64), "begins at byte"},
      {"OverlapInPart", with_b(16, 64), "begins at byte"},
      {"Hole", with_b(64, 96), "begins at byte"},
      {"DataBeyondFile", with_b(32, 63), "the file ends at"},
      {"BytesAfterTensors", with_b(32, 65), "but the file at"},
      {"HeadCutOff", GgufParts{.tensors = {a}}.Head(), "the file ends at"},
  };
}

TEST(Gguf, RefusesEveryBrokenRuleByName) {
  for (const auto& seeds : {HeadSeeds(), TensorSeeds()})
    for (const Seed& seed : seeds)
      EXPECT_THAT(Parse(seed.bytes), StatusIs(seed.code, HasSubstr(seed.message))) << seed.rule;
}

TEST(Gguf, RefusesEveryCutOfAWholeFile) {
  const std::string whole = TwoTensors().Bytes();
  ASSERT_OK(Parse(whole));
  for (size_t bytes = 0; bytes < whole.size(); ++bytes)
    EXPECT_FALSE(Parse(whole.substr(0, bytes)).ok()) << bytes;
}

TEST(Gguf, AcceptsTheUnusualButLegal) {
  EXPECT_OK(Parse(GgufParts{}.Bytes()));
  GgufParts wide = TwoTensors();  // another alignment, another order, the last padding written
  wide.alignment = 64;
  wide.keys.push_back(GgufIntKey("general.alignment", 64));
  wide.tensors = {GgufTensorEntry("b", {4}, kF16, 64), GgufTensorEntry("a", {3, 2}, kF32, 0)};
  wide.data.resize(128);
  ASSERT_OK_AND_ASSIGN(const GgufHeader header, Parse(wide.Bytes()));
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_OK(Parse(WithTensor(GgufTensorEntry("scalar", {}, kF32, 0), 4)));
}

TEST(Gguf, NamesFileAndTensor) {
  TempFolder folder;
  const auto path = folder.path() / "model.gguf";
  ASSERT_OK(WriteFileAtomically(path, WithTensor(GgufTensorEntry("blk.0", {8}, 77, 0), 32)));
  EXPECT_THAT(GgufFile::Open(path),
              StatusIs(StatusCode::kDataLoss,
                       testing::AllOf(HasSubstr("model.gguf"), HasSubstr("\"blk.0\""))));
  EXPECT_THAT(GgufFile::Open(folder.path() / "none"),
              StatusIs(StatusCode::kNotFound, HasSubstr("none")));
}

TEST(Gguf, NeverReadsPastAFileThatShrank) {
  TempFolder folder;
  const auto path = folder.path() / "model.gguf";
  ASSERT_OK(WriteFileAtomically(path, TwoTensors().Bytes()));
  ASSERT_OK_AND_ASSIGN(const GgufFile file, GgufFile::Open(path));
  std::filesystem::resize_file(path, 40);
  std::vector<float> values(6);
  EXPECT_THAT(file.ReadFloats(*file.Find("a"), 0, values),
              StatusIs(StatusCode::kDataLoss, HasSubstr("shorter")));
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/checkpoint/safetensors.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "common/files.h"
#include "tests/support/status_matchers.h"
#include "worker/checkpoint/safetensors_writer.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::string WithLength(uint64_t header_bytes, const std::string& rest) {
  return std::string(reinterpret_cast<const char*>(&header_bytes), 8) + rest;
}
std::string FileOf(const std::string& header, size_t data_bytes) {
  return WithLength(header.size(), header + std::string(data_bytes, 'x'));
}

class SafetensorsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / ("safetensors-" + RandomHex(6));
    ASSERT_OK(MakeFolders(folder_));
    path_ = folder_ / "model.safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  StatusOr<SafetensorsFile> OpenBytes(const std::string& bytes) {
    RETURN_IF_ERROR(WriteFileAtomically(path_, bytes));
    return SafetensorsFile::Open(path_);
  }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

TEST_F(SafetensorsTest, ReadsBackWhatTheWriterWrote) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<float> b = {1.00390625f};  // 1 + 2^-8: rounds to 1 in bf16
  const std::vector<TensorToWrite> tensors = {{"a", TensorType::kF32, {2, 3}, a.data(), 6},
                                              {"scalar", TensorType::kBF16, {}, b.data(), 1},
                                              {"none", TensorType::kF32, {0, 7}, nullptr, 0}};
  ASSERT_OK_AND_ASSIGN(const FileDigest digest, WriteSafetensors(path_, tensors));
  EXPECT_EQ(digest.sha256, *Sha256OfFile(path_));
  EXPECT_EQ(digest.size, static_cast<int64_t>(std::filesystem::file_size(path_)));
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file, SafetensorsFile::Open(path_));
  EXPECT_THAT(file.metadata(), ElementsAre(Pair("format", "pt")));
  std::vector<float> values(6);
  ASSERT_NE(file.Find("a"), nullptr);
  EXPECT_EQ(file.Find("a")->begin % 8, 0);
  ASSERT_OK(file.ReadFloats(*file.Find("a"), 0, values));
  EXPECT_EQ(values, a);
  EXPECT_THAT(file.Find("a")->shape, ElementsAre(2, 3));
  float scalar = 0;
  ASSERT_OK(file.ReadFloats(*file.Find("scalar"), 0, std::span(&scalar, 1)));
  EXPECT_EQ(scalar, 1.0f);
  EXPECT_EQ(file.Find("none")->count, 0);
  EXPECT_EQ(file.Find("other"), nullptr);
}

TEST_F(SafetensorsTest, RefusesToWriteWhatReadersWouldRefuse) {
  const float value = 1;
  const TensorToWrite good = {"a", TensorType::kF32, {1}, &value, 1};
  const auto write = [&](TensorToWrite changed) {
    return WriteSafetensors(path_, std::vector<TensorToWrite>{good, std::move(changed)});
  };
  const auto is_bad = [](const char* what) {
    return StatusIs(StatusCode::kInvalidArgument, HasSubstr(what));
  };
  EXPECT_THAT(write(good), is_bad("twice"));
  EXPECT_THAT(write({"__metadata__", TensorType::kF32, {1}, &value, 1}), is_bad("named"));
  EXPECT_THAT(write({"\xff", TensorType::kF32, {1}, &value, 1}), is_bad("named"));
  EXPECT_THAT(write({"b", TensorType::kF32, {2}, &value, 1}), is_bad("1 elements"));
  EXPECT_THAT(write({"b", TensorType::kI64, {1}, &value, 1}), is_bad("I64"));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SafetensorsTest, HashesBesideAsInTurn) {
  const std::vector<float> values(700'001, 0.5f);
  std::string digests[2];
  for (const Hashing hashing : {Hashing::kInTurn, Hashing::kBeside}) {
    const auto path = folder_ / (hashing == Hashing::kBeside ? "beside" : "in-turn");
    ASSERT_OK_AND_ASSIGN(SafetensorsWriter writer,
                         SafetensorsWriter::Create(path, {{"a", TensorType::kF16, {700'001}}},
                                                   /*piece_written=*/{}, hashing));
    ASSERT_OK(writer.WriteFloats(values));
    ASSERT_OK_AND_ASSIGN(const FileDigest digest, writer.Finish());
    EXPECT_EQ(digest.sha256, *Sha256OfFile(path));
    digests[hashing == Hashing::kBeside] = digest.sha256;
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_F(SafetensorsTest, AStopWhileWritingIsReturned) {
  const std::vector<float> values(700'001, 0.5f);
  int pieces = 0;
  const auto stop = [&] { return ++pieces < 3 ? OkStatus() : Aborted("told to stop"); };
  ASSERT_OK_AND_ASSIGN(SafetensorsWriter writer,
                       SafetensorsWriter::Create(path_, {{"a", TensorType::kF32, {700'001}}}, stop,
                                                 Hashing::kBeside));
  EXPECT_THAT(writer.WriteFloats(values), StatusIs(StatusCode::kAborted, HasSubstr("told")));
}

TEST_F(SafetensorsTest, NamesTheTensorWithAValueTooLargeForF16) {
  ASSERT_OK_AND_ASSIGN(SafetensorsWriter writer,
                       SafetensorsWriter::Create(path_, {{"big", TensorType::kF16, {2}}}));
  EXPECT_THAT(writer.WriteFloats(std::vector<float>{1, 65520}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("big")));
}

TEST_F(SafetensorsTest, ReadsEveryTypeTransformersWrites) {
  const std::string header = R"({"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},)"
                             R"("i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                             R"("u":{"dtype":"U8","shape":[3],"data_offsets":[12,15]}}   )";
  const std::string data = std::string("\x05\0\0\0\0\0\0\0", 8) +
                           std::string("\x00\x3c\x00\xc0", 4) + std::string("\x01\x02\x03", 3);
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file,
                       OpenBytes(WithLength(header.size(), header + data)));
  std::vector<float> halves(2);
  ASSERT_OK(file.ReadFloats(*file.Find("b"), 0, halves));
  EXPECT_THAT(halves, ElementsAre(1.0f, -2.0f));
  int64_t five = 0;
  ASSERT_OK(file.ReadBytes(*file.Find("i"), 0, std::as_writable_bytes(std::span(&five, 1))));
  EXPECT_EQ(five, 5);
  std::vector<std::byte> bytes(3);
  ASSERT_OK(file.ReadBytes(*file.Find("u"), 0, bytes));
  EXPECT_EQ(bytes[2], std::byte{3});
  EXPECT_THAT(file.ReadFloats(*file.Find("i"), 0, std::span(halves).first(1)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("I64")));
  EXPECT_EQ(file.tensors()[0].name, "i");  // by place, not by name
}

struct Seed {
  const char* rule;
  std::string bytes;
  const char* message;
};

// One entry with the given dtype, shape and offsets, then `data_bytes` of data.
std::string OneTensor(const std::string& dtype, const std::string& shape,
                      const std::string& offsets, size_t data_bytes) {
  return FileOf("{\"w\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
                    ",\"data_offsets\":" + offsets + "}}",
                data_bytes);
}

constexpr char kByte0[] = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
constexpr char kByte1[] = R"({"dtype":"U8","shape":[1],"data_offsets":[1,2]})";
constexpr char kByte2[] = R"({"dtype":"U8","shape":[1],"data_offsets":[2,3]})";

// An object of these entries.
std::string Header(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string text;
  for (const auto& [name, entry] : entries)
    text += (text.empty() ? "{\"" : ",\"") + name + "\":" + entry;
  return text + "}";
}

std::vector<Seed> HeaderSeeds() {
  const std::string zero("\0", 1);
  return {
      {"AtLeastEightBytes", "1234567", "at least 8"},
      {"Empty", "", "at least 8"},
      {"HeaderLongerThanFile", WithLength(100, "{}"), "100 bytes"},
      {"HeaderLengthWraps", WithLength(UINT64_MAX - 4, "{}"), "18446744073709551611"},
      {"HeaderOver100Mb", WithLength(100'000'001, "{}"), "100 MB"},
      {"HeaderEmpty", WithLength(0, ""), "begin"},
      {"HeaderBeginsWithSpace", FileOf(" {}", 0), "begin"},
      {"HeaderIsAList", FileOf("[]", 0), "begin"},
      {"HeaderCut", FileOf("{\"w\":", 0), "JSON"},
      {"BytesAfterHeader", FileOf("{}x", 0), "JSON"},
      {"TwoObjects", FileOf("{}{}", 0), "JSON"},
      {"ZeroByteAfterHeader", FileOf("{}" + zero + "{\"a\":1}", 0), "zero byte"},
      {"Comment", FileOf("{}/* */", 0), "JSON"},
      {"NotUtf8", FileOf(Header({{"\xff", kByte0}}), 1), "UTF-8"},
      {"OverlongUtf8", FileOf(Header({{"\xc0\xaf", kByte0}}), 1), "UTF-8"},
      {"DeepNesting", FileOf("{\"w\":[[[[1]]]]}", 0), "deeper than 4"},
      {"VeryDeepNesting", FileOf("{\"w\":" + std::string(1'000'000, '['), 0), "deeper than 4"},
      {"DuplicateTensor", FileOf(Header({{"w", kByte0}, {"w", kByte0}}), 1), "twice"},
      {"DuplicateField",
       FileOf(R"({"w":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1), "twice"},
      {"EntryNotAnObject", FileOf("{\"w\":3}", 0), "exactly"},
      {"MissingField", FileOf(R"({"w":{"dtype":"U8","shape":[1]}})", 1), "exactly"},
      {"UnknownField", FileOf(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0}})", 1),
       "exactly"},
      {"UnknownDtype", OneTensor("F4", "[1]", "[0,1]", 1), "F4"},
      {"LowerCaseDtype", OneTensor("f32", "[1]", "[0,4]", 4), "f32"},
      {"DtypeNotAString", FileOf(R"({"w":{"dtype":3,"shape":[1],"data_offsets":[0,1]}})", 1),
       "not known"},
      {"MetadataNotAnObject", FileOf("{\"__metadata__\":3}", 0), "__metadata__"},
      {"MetadataValueNotText", FileOf("{\"__metadata__\":{\"a\":1}}", 0), "__metadata__"},
  };
}

std::vector<Seed> RangeSeeds() {
  return {
      {"NegativeDim", OneTensor("U8", "[-1]", "[0,1]", 1), "whole number"},
      {"NegativeZeroDim", OneTensor("U8", "[-0]", "[0,0]", 0), "whole number"},
      {"FractionalDim", OneTensor("U8", "[1.0]", "[0,1]", 1), "whole number"},
      {"DimIsText", OneTensor("U8", "[\"1\"]", "[0,1]", 1), "whole number"},
      {"DimOver63Bits", OneTensor("U8", "[9223372036854775808]", "[0,1]", 1), "whole number"},
      {"DimOver64Bits", OneTensor("U8", "[18446744073709551616]", "[0,1]", 1), "whole number"},
      {"ShapeNotAList", OneTensor("U8", "1", "[0,1]", 1), "not a list"},
      // 2^32 x 2^32 wraps to 0 in 64 bits and would pass for an empty tensor.
      {"ProductWrapsToZero", OneTensor("U8", "[4294967296,4294967296]", "[0,0]", 0), "63 bits"},
      {"ProductWrapsToSmall", OneTensor("U8", "[4294967297,4294967297]", "[0,1]", 1), "63 bits"},
      {"ProductWrapsBeforeAZero", OneTensor("U8", "[4294967296,4294967296,0]", "[0,0]", 0),
       "63 bits"},
      {"BytesWrap", OneTensor("F64", "[2305843009213693952]", "[0,0]", 0), "63 bits"},
      {"OffsetsReversed", OneTensor("U8", "[1]", "[1,0]", 1), "not inside"},
      {"EndPastData", OneTensor("U8", "[2]", "[0,2]", 1), "not inside"},
      {"OffsetsHuge", OneTensor("U8", "[1]", "[9223372036854775806,9223372036854775807]", 1),
       "not inside"},
      {"NegativeOffset", OneTensor("U8", "[1]", "[-1,0]", 1), "whole number"},
      {"OneOffset", OneTensor("U8", "[1]", "[0]", 1), "two numbers"},
      {"ThreeOffsets", OneTensor("U8", "[1]", "[0,1,1]", 1), "two numbers"},
      {"RangeShorterThanShape", OneTensor("F32", "[2]", "[0,4]", 4), "need 8"},
      {"RangeLongerThanShape", OneTensor("F32", "[1]", "[0,8]", 8), "need 4"},
      {"ScalarIsOneElement", OneTensor("F32", "[]", "[0,0]", 0), "need 4"},
      {"ZeroDimIsNoElement", OneTensor("F32", "[0]", "[0,4]", 4), "need 0"},
      {"HoleBetweenTensors", FileOf(Header({{"a", kByte0}, {"b", kByte2}}), 3), "ends at 1"},
      {"HoleAtTheStart", FileOf(Header({{"b", kByte1}}), 2), "ends at 0"},
      {"Overlap", FileOf(Header({{"a", kByte0}, {"b", kByte0}}), 1), "ends at 1"},
      {"BytesNoTensorCovers", FileOf(Header({{"a", kByte0}}), 2), "of 2 bytes"},
  };
}

TEST_F(SafetensorsTest, RefusesEveryBrokenRuleByName) {
  for (const auto& seeds : {HeaderSeeds(), RangeSeeds()})
    for (const Seed& seed : seeds)
      EXPECT_THAT(OpenBytes(seed.bytes), StatusIs(StatusCode::kDataLoss, HasSubstr(seed.message)))
          << seed.rule;
}

TEST_F(SafetensorsTest, AcceptsTheUnusualButLegal) {
  EXPECT_OK(OpenBytes(FileOf("{}", 0)));
  EXPECT_OK(OpenBytes(FileOf("{\"__metadata__\":{}}    ", 0)));
  EXPECT_OK(OpenBytes(OneTensor("F32", "[0,4294967296]", "[0,0]", 0)));
  EXPECT_OK(OpenBytes(OneTensor("F64", "[]", "[0,8]", 8)));
  EXPECT_OK(OpenBytes(FileOf(Header({{"../../etc/passwd", kByte0}}), 1)));  // only a name
  // Empty tensors share their place with the next one.
  constexpr char kEmpty[] = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_OK(OpenBytes(FileOf(Header({{"w", kByte0}, {"x", kEmpty}}), 1)));
}

TEST_F(SafetensorsTest, NeverReadsPastAFileThatShrank) {
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file,
                       OpenBytes(OneTensor("F32", "[1000]", "[0,4000]", 4000)));
  std::filesystem::resize_file(path_, 500);
  std::vector<float> values(1000);
  EXPECT_THAT(file.ReadFloats(*file.Find("w"), 0, values),
              StatusIs(StatusCode::kDataLoss, HasSubstr("shorter")));
}

TEST_F(SafetensorsTest, NamesAFileThatIsNotThere) {
  EXPECT_THAT(SafetensorsFile::Open(folder_ / "none"),
              StatusIs(StatusCode::kNotFound, HasSubstr("none")));
  EXPECT_THAT(SafetensorsFile::Open(folder_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("not a file")));
}

}  // namespace
}  // namespace trainyard::worker

#include "common/documents/text_reader.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace trainyard {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class TextReader : public testing::Test {
 protected:
  StatusOr<std::vector<std::string>> Read(const std::string& name, std::string_view bytes,
                                          std::string_view text_field = "text") {
    Write(name, bytes);
    return ReadFileAt(name, text_field);
  }
  StatusOr<std::vector<std::string>> ReadFileAt(const std::string& name,
                                                std::string_view text_field = "text") {
    std::vector<std::string> documents;
    std::string open;
    RETURN_IF_ERROR(ReadDocuments({folder_.path() / name, name}, *FormatOf("auto", name),
                                  text_field,
                                  {.text =
                                       [&](std::string_view text) {
                                         open.append(text);
                                         return OkStatus();
                                       },
                                   .end =
                                       [&] {
                                         documents.push_back(std::exchange(open, ""));
                                         return OkStatus();
                                       }}));
    return documents;
  }
  static std::string Gzip(std::string_view text) {
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    std::string out(text.size() + 1024, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
  }
  void Write(const std::string& name, std::string_view bytes) const {
    EXPECT_OK(WriteFileAtomically(folder_.path() / name, bytes));
  }
  const TempFolder folder_;
};

TEST_F(TextReader, TakesATextFileForOneDocument) {
  EXPECT_THAT(*Read("a.txt", "One.\n\nTwo.\n"), ElementsAre("One.\n\nTwo.\n"));
  EXPECT_THAT(*Read("mark.txt", "\xEF\xBB\xBFtext"), ElementsAre("text"));
}

TEST_F(TextReader, TakesALineOfJsonlForADocument) {
  EXPECT_THAT(
      *Read("a.jsonl", "{\"text\": \"one\\n\"}\n\n{\"text\":\"\"}\r\n{\"text\": \"zwei ü\"}"),
      ElementsAre("one\n", "zwei ü"));
  EXPECT_THAT(*Read("b.jsonl", "{\"question\": \"why?\", \"n\": 1}\n", "question"),
              ElementsAre("why?"));
}

TEST_F(TextReader, ReadsGzipOfOneOrMoreMembers) {
  EXPECT_THAT(*Read("a.txt.gz", Gzip("packed ") + Gzip("twice")), ElementsAre("packed twice"));
  EXPECT_THAT(*Read("a.jsonl.gz", Gzip("{\"text\": \"x\"}\n")), ElementsAre("x"));
}

TEST_F(TextReader, GivesLongTextsWholeCharacters) {
  std::string text;
  while (text.size() < (size_t{3} << 20)) text += "aé東😀";  // 10 bytes: blocks end everywhere
  Write("long.txt", text);
  std::string joined;
  ASSERT_OK(ReadDocuments({folder_.path() / "long.txt", "long.txt"}, TextFormat::kText, "",
                          {.text =
                               [&](std::string_view part) {
                                 EXPECT_EQ(FindInvalidUtf8(part), std::string_view::npos);
                                 joined.append(part);
                                 return OkStatus();
                               },
                           .end = [] { return OkStatus(); }}));
  EXPECT_EQ(joined, text);
}

TEST_F(TextReader, NamesTheOffsetOfInvalidUtf8) {
  EXPECT_THAT(Read("bad.txt", "fine \xff no"),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("bad.txt:1:6: "), HasSubstr("offset 5 "))));
  EXPECT_THAT(Read("cut.txt", "caf\xc3"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("offset 3 ")));
  EXPECT_THAT(Read("mark.txt", "\xEF\xBB\xBF\x80"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("offset 3 ")));
  // Past the first block, and counted in the text, not in the compressed bytes.
  const std::string far = std::string((size_t{2} << 20) - 1, 'a') + "\xc3\xc3";
  EXPECT_THAT(Read("far.txt", far),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("offset 2097151 ")));
  EXPECT_THAT(Read("far.txt.gz", Gzip(far)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("offset 2097151 ")));
  EXPECT_THAT(Read("bad.jsonl", "{\"text\": \"\xff\"}\n"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("offset 10 ")));
}

TEST_F(TextReader, NamesAMissingOrEmptyFile) {
  EXPECT_THAT(ReadFileAt("absent.txt"), StatusIs(StatusCode::kNotFound, HasSubstr("absent.txt")));
  EXPECT_THAT(Read("empty.txt", ""),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("empty.txt has no text")));
  EXPECT_THAT(Read("empty.jsonl", "\n\n{\"text\": \"\"}\n"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("empty.jsonl has no text")));
  EXPECT_THAT(Read("empty.txt.gz", Gzip("")),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("empty.txt.gz has no text")));
  std::filesystem::create_directory(folder_.path() / "folder");
  EXPECT_THAT(ReadFileAt("folder"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("folder")));
}

TEST_F(TextReader, NamesTheLineAndKeyOfBadJsonl) {
  const std::string good = "{\"text\": \"x\"}\n";
  EXPECT_THAT(Read("a.jsonl", good + "{\"txt\": 1, \"id\": 2}\n"),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("a.jsonl:2:"), HasSubstr("no key \"text\""),
                             HasSubstr("\"id\", \"txt\""))));
  EXPECT_THAT(Read("a.jsonl", good + "\n{\"text\": 7}\n"),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("a.jsonl:3:"), HasSubstr("\"text\" is a JSON number"))));
  EXPECT_THAT(Read("a.jsonl", "[1]\n"), StatusIs(StatusCode::kInvalidArgument,
                                                 HasSubstr("a.jsonl:1:2: here is a JSON number")));
  EXPECT_THAT(Read("a.jsonl", good + "{\"text\": \n"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("a.jsonl:2:10: not JSON")));
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  EXPECT_THAT(Read("a.jsonl", deep), StatusIs(StatusCode::kInvalidArgument, HasSubstr("array")));
  EXPECT_THAT(Read("a.jsonl", "{\"text\": \"\\ud800\"}\n"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("a.jsonl:1:")));
}

TEST_F(TextReader, ReadsJsonThatIsAnArrayOrObjectsOneAfterTheOther) {
  const std::string objects =
      "{\"text\": \"a [1, {2}] \\\" b\"}, {\"id\": [1, {\"x\": \"}\"}],\n \"text\": \"ü\"}";
  EXPECT_THAT(*Read("array.json", "\n[" + objects + "]\n"), ElementsAre("a [1, {2}] \" b", "ü"));
  EXPECT_THAT(*Read("lines.json", "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n"),
              ElementsAre("a", "b"));
  EXPECT_THAT(*Read("one.json", "{\n  \"text\": \"alone\"\n}"), ElementsAre("alone"));
  EXPECT_THAT(*Read("array.jsonl", "[" + objects + "]"), ElementsAre("a [1, {2}] \" b", "ü"));
  EXPECT_THAT(*Read("array.json.gz", Gzip("[{\"text\": \"x\"}]")), ElementsAre("x"));
  EXPECT_THAT(*Read("ROWS.JSONL", "{\"text\": \"a\"}\n"), ElementsAre("a"));
}

TEST_F(TextReader, StreamsAnArrayThatIsLongerThanAnyBlock) {
  std::string array = "[";
  for (int i = 0; i < 40'000; ++i)
    array += fmt::format("{}{{\"n\": {}, \"text\": \"row {} of ä 😀\"}}", i ? ",\n" : "", i, i);
  const auto documents = Read("long.json", array + "]");
  ASSERT_OK(documents);
  ASSERT_EQ(documents->size(), 40'000u);
  EXPECT_EQ(documents->back(), "row 39999 of ä 😀");
  EXPECT_THAT(Read("cut.json", array),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("the array is not closed")));
  EXPECT_THAT(Read("bad.json", array + ", 7]"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("bad.json:40000:")));
}

TEST_F(TextReader, NamesLineAndColumnOfBadJson) {
  const auto refused = [&](const std::string& text, const std::string& said) {
    EXPECT_THAT(Read("a.json", text), StatusIs(StatusCode::kInvalidArgument, HasSubstr(said)))
        << text;
  };
  refused("[{\"text\": \"a\"},\n {\"text\": tru}]", "a.json:2:14: not JSON");
  refused("[{\"text\": \"a\"},\n  \"b\"]", "a.json:2:3: here is a JSON string");
  refused("[{\"text\": \"a\"}\n {\"text\": \"b\"}]", "a.json:2:2: a comma");
  refused("[{\"text\": \"a\"},]", "a.json:1:16: ");
  refused("[{\"text\": \"a\"}]\n[]", "a.json:2:1: ");
  refused("[{\"ä\": 1}, {\"txt\": 1}]", "a.json:1:2: there is no key \"text\"");
  refused("{\"text\": \"a\nb\"}", "a.json:1:12: not JSON (a text holds the control");
  refused("{\"text\": \"a\"\n{\"text\": \"b\"}", "a.json:2:1: not JSON");
  refused("[{\"text\": \"a\"", "a.json:1:2: this object is not closed");
  refused("Dear reader", "a.json:1:1: not JSON");
  refused("[]", "a.json has no text");
}

TEST_F(TextReader, CallsAFileThatIsNoTextWhatItIs) {
  using std::string_view_literals::operator""sv;
  EXPECT_THAT(Read("rows.parquet", "PAR1\x15\x04"sv),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("rows.parquet is a Parquet file"), HasSubstr("to_json"))));
  EXPECT_THAT(Read("rows.jsonl", "\x28\xB5\x2F\xFD\x04\x58"sv),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("Zstandard")));
  EXPECT_THAT(Read("rows.txt.gz", Gzip("%PDF-1.7\n")),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("a PDF file")));
}

TEST_F(TextReader, RefusesDamagedGzip) {
  const std::string packed =
      Gzip("some text that is long enough to be cut somewhere in the middle");
  for (size_t size = 3; size < packed.size(); ++size)
    EXPECT_THAT(Read("cut.txt.gz", packed.substr(0, size)),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("cut.txt.gz")))
        << size;
  std::string flipped = packed;
  flipped[packed.size() - 6] ^= 1;  // in the checksum
  EXPECT_THAT(Read("bad.txt.gz", flipped),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("damaged")));
}

TEST(FormatOf, GoesByTheNameUnlessTold) {
  EXPECT_EQ(*FormatOf("auto", "a/b.jsonl"), TextFormat::kJsonl);
  EXPECT_EQ(*FormatOf("auto", "b.jsonl.gz"), TextFormat::kJsonl);
  EXPECT_EQ(*FormatOf("auto", "b.txt.gz"), TextFormat::kText);
  EXPECT_EQ(*FormatOf("auto", "B.NDJSON.GZ"), TextFormat::kJsonl);
  EXPECT_EQ(*FormatOf("auto", "rows.Json"), TextFormat::kJson);
  EXPECT_EQ(*FormatOf("auto", "README"), TextFormat::kText);
  EXPECT_TRUE(NamesText("A.MD.gz"));
  EXPECT_FALSE(NamesText("a.csv"));
  EXPECT_EQ(*FormatOf("text", "b.jsonl"), TextFormat::kText);
  EXPECT_THAT(FormatOf("csv", "b"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("csv")));
}

}  // namespace
}  // namespace trainyard

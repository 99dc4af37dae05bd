#include "common/documents/file_kind.h"

#include <gtest/gtest.h>

namespace trainyard {
namespace {

using std::string_view_literals::operator""sv;

std::string_view NameOf(std::string_view beginning) {
  const FileKind* kind = KindThatIsNoText(beginning);
  return kind == nullptr ? "text" : kind->name;
}

TEST(KindThatIsNoText, CallsTheFormsThatDataSetsComeInByTheirNames) {
  EXPECT_EQ(NameOf("PAR1\x15\x00\x15\x1c"sv), "a Parquet file");
  EXPECT_EQ(NameOf("\x28\xB5\x2F\xFD\x24\x00"sv), "compressed with Zstandard");
  EXPECT_EQ(NameOf("BZh91AY&SY\x95\xfe\xff\x01\x02"sv), "compressed with bzip2");
  EXPECT_EQ(NameOf("\xFF\xFF\xFF\xFF\x98\x01\x00\x00"sv),
            "an Arrow stream, as datasets' save_to_disk writes it");
  EXPECT_EQ(NameOf("SQLite format 3\0\x10"sv), "an SQLite database");
  EXPECT_EQ(NameOf("\x80\x04\x95\x10"sv), "a Python pickle");
  EXPECT_EQ(NameOf("\xFF\xFEh\0i\0"sv), "text in UTF-16");
  std::string tar(512, '\0');
  tar.replace(0, 5, "a.txt").replace(257, 5, "ustar");
  EXPECT_EQ(NameOf(tar), "a tar archive");
}

TEST(KindThatIsNoText, TakesATextForOneThatBeginsWithTheSameLetters) {
  for (const std::string_view text :
       {"PAR1 is a code name.\n"sv, "BZhang wrote this.\n"sv, "ORChestra\n"sv,
        "GGUF files hold é"sv, ""sv, "P"sv, "\xEF\xBB\xBFwith a mark"sv,
        "PAR1 ends within a character \xC3"sv})
    EXPECT_EQ(NameOf(text), "text") << text;
}

}  // namespace
}  // namespace trainyard

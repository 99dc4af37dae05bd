#include "common/link/cbor.h"

#include "common/rng.h"
#include "tests/support/status_matchers.h"

namespace trainyard::link {
namespace {

using testing::HasSubstr;

TEST(ParseCbor, ReadsWhatToCborWrites) {
  const nlohmann::ordered_json value = {{"a", {1, -5, 2.5, "text", nullptr, true}},
                                        {"b", nlohmann::ordered_json::binary({0, 255})},
                                        {"c", {{"d", 1LL << 40}}}};
  ASSERT_OK_AND_ASSIGN(const auto back, ParseCbor(ToCbor(value)));
  EXPECT_EQ(back, value);
}

// RFC 8949, appendix A.
TEST(ParseCbor, ReadsTheRfcsExamples) {
  EXPECT_EQ(*ParseCbor("\x19\x03\xe8"), 1000);
  EXPECT_EQ(*ParseCbor("\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a"), 1.1);
  EXPECT_EQ(*ParseCbor("\x83\x01\x82\x02\x03\x82\x04\x05"),
            nlohmann::ordered_json::parse("[1,[2,3],[4,5]]"));
}

struct Bad {
  std::string bytes;
  const char* rule;
};

TEST(ParseCbor, NamesTheRuleThatIsBroken) {
  for (const Bad& bad : std::vector<Bad>{
           {"", "cut short"},
           {"\x19\x03", "cut short"},
           {"\x82\x01", "a container is longer"},
           {"\x82\x19\x01", "cut short"},
           {"\x63\x61\x62", "a string is longer"},
           {std::string("\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 9), "a container is longer"},
           {std::string("\xbb\x00\x00\x00\x00\x00\x01\x00\x00", 9), "a map is too large"},
           {"\xc1\x01", "tags"},
           {"\x9f\x01\xff", "indefinite"},
           {std::string(1 << 20, '\x7f'), "indefinite"},
           {std::string(1 << 20, '\x81'), "nested too deeply"},
           {"\xf7", "unknown simple value"},
           {"\x01\x01", "bytes follow"},
           {"\xa1\x01\x01", "not readable"}}) {
    EXPECT_THAT(ParseCbor(bad.bytes), StatusIs(StatusCode::kInvalidArgument, HasSubstr(bad.rule)));
  }
  EXPECT_THAT(ParseCbor("\x83\x01\x02\x03", {.items = 3}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("too many values")));
}

TEST(ParseCbor, TakesAnyBytesWithoutACrash) {
  const Rng rng{.seed = 3, .purpose = Purpose::kSample};
  const std::string good = ToCbor({{"a", {1, 2.5, "text"}}, {"b", {{"c", nullptr}}}});
  int refused = 0;
  for (uint64_t i = 0; i < 20'000; ++i) {
    std::string bytes = good;
    for (uint64_t edit = 0; edit <= rng.Below(3, i, 0); ++edit) {
      bytes[rng.Below(bytes.size(), i, 2 * edit + 1)] =
          static_cast<char>(rng.Below(256, i, 2 * edit + 2));
    }
    refused += ParseCbor(bytes).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 1'000);
}

}  // namespace
}  // namespace trainyard::link

// What a hostile or careless file can be: 10,000 mutations of a job file, each parsed or refused
// with a place, never a crash.
#include "common/job_spec/json.h"
#include "common/job_spec/resolve.h"
#include "common/rng.h"
#include "tests/common/job_spec/example.h"

namespace trainyard {
namespace {

using testing::MatchesRegex;

constexpr std::string_view kPieces[] = {":",
                                        "\n",
                                        "  ",
                                        "- ",
                                        "[",
                                        "]",
                                        "{",
                                        "}",
                                        ",",
                                        "#",
                                        "&a",
                                        "*a",
                                        "!!x",
                                        "? ",
                                        "|\n",
                                        ">\n",
                                        "\"",
                                        "'",
                                        "%",
                                        "@",
                                        "`",
                                        "\t",
                                        "\xff",
                                        "\xc3",
                                        "\xe2\x80\xa8",
                                        "---\n",
                                        "...\n",
                                        "<<",
                                        "null",
                                        "~",
                                        "-1",
                                        "1e999",
                                        "true",
                                        ".nan",
                                        "0x10",
                                        "99999999999999999999",
                                        "name",
                                        "a: b",
                                        "*b ",
                                        "&b ",
                                        "[[[[[[[",
                                        "{{{{{{",
                                        "\r",
                                        "\xef\xbb\xbf",
                                        "!<tag:x>"};

// The example after one to eight edits drawn from `index`.
std::string Mutated(uint64_t index) {
  const Rng rng{.seed = 20, .purpose = Purpose::kSample};
  std::string text = kExample;
  const uint64_t edits = 1 + rng.Below(8, index, 0);
  for (uint64_t i = 1; i <= edits; ++i) {
    const uint64_t at = rng.Below(text.size() + 1, index, 10 * i);
    const uint64_t length = std::min<uint64_t>(rng.Below(12, index, 10 * i + 1), text.size() - at);
    switch (rng.Below(4, index, 10 * i + 2)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, kPieces[rng.Below(std::size(kPieces), index, 10 * i + 3)]);
        break;
      case 2:
        text.insert(rng.Below(text.size() + 1, index, 10 * i + 4), text.substr(at, 4 * length));
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(rng.Below(256, index, 10 * i + 5));
    }
    if (text.empty()) text = "a";
  }
  return text;
}

TEST(Mutations, AreAJobOrAnErrorWithAPlace) {
  int accepted = 0;
  for (uint64_t i = 0; i < 10'000; ++i) {
    const std::string text = Mutated(i);
    const auto job = ParseJobYaml(text, "job.yaml");
    if (job.ok()) {
      ++accepted;
      const auto resolved = Resolve(*job);
      if (!resolved.ok()) {
        EXPECT_NE(FieldOf(resolved.status()), "") << text;
        continue;
      }
      // What is accepted is text that every other spelling can carry.
      const std::string json = JobSpecToJson(resolved->spec).dump();
      EXPECT_OK(JobSpecFromJson(nlohmann::ordered_json::parse(json))) << text;
      continue;
    }
    ASSERT_EQ(job.status().code(), StatusCode::kInvalidArgument);
    const std::string message = MessageOf(job.status());
    ASSERT_EQ(message.rfind("job.yaml:", 0), 0u) << message;
    ASSERT_THAT(message.substr(0, message.find(": ")),
                MatchesRegex("job.yaml:[1-9][0-9]*:[1-9][0-9]*"))
        << text;
  }
  EXPECT_GT(accepted, 100) << "the mutations are too wild to reach the reader";
  EXPECT_LT(accepted, 9'000);
}

}  // namespace
}  // namespace trainyard

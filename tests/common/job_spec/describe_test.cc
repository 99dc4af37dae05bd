#include "common/job_spec/describe.h"

#include "common/files.h"
#include "common/job_spec/fields.h"
#include "tests/common/job_spec/example.h"
#include "tests/support/places.h"

namespace trainyard {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

TEST(FormatResolved, HasALinePerLeafWithValueAndOrigin) {
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(ExampleJob()));
  const std::string text = FormatResolved(resolved);
  EXPECT_THAT(text, ContainsRegex("\ntrain.learning_rate +0.003 +job file\n"));
  EXPECT_THAT(text, ContainsRegex("\nmodel.config.hidden_size +128 +preset llama-nano\n"));
  EXPECT_THAT(text, ContainsRegex("\nmodel.from +- +default\n"));
  EXPECT_EQ(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')),
            resolved.origins.size());
}

TEST(FormatResolved, GivesTheFilesOfASourceOneLine) {
  JobSpec spec = ExampleJob().spec;
  const BlobRef file{.name = "a", .sha256 = std::string(64, 'a'), .size_bytes = 10};
  spec.data.train[0].files = {file, file, file};
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(spec));
  EXPECT_THAT(FormatResolved(resolved),
              ContainsRegex("\ndata.train\\[0\\].files +3 files, 30 bytes +submit\n"));
  for (const auto& [path, origin] : resolved.origins) EXPECT_THAT(path, Not(HasSubstr("files")));
}

TEST(FieldTableMarkdown, NamesEveryField) {
  const std::string page = FieldTableMarkdown();
  for (const Field* field : AllLeaves()) {
    if (field->path.find(".files[]") != std::string::npos) continue;
    EXPECT_THAT(page, HasSubstr("`" + field->path + "`"));
  }
}

// To write the page anew: TRAINYARD_WRITE_DOCS=1 build/tests/job_spec_test
TEST(FieldTableMarkdown, IsDocsJobFile) {
  const std::string path = SourceFolder() / "docs/job-file.md";
  if (std::getenv("TRAINYARD_WRITE_DOCS") != nullptr) {
    ASSERT_OK(WriteFileAtomically(path, FieldTableMarkdown()));
  }
  ASSERT_OK_AND_ASSIGN(const std::string page, ReadFile(path));
  EXPECT_EQ(page, FieldTableMarkdown())
      << "the table has changed: run TRAINYARD_WRITE_DOCS=1 build/tests/job_spec_test";
}

}  // namespace
}  // namespace trainyard

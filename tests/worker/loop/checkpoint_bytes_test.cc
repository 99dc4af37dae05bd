// What a checkpoint takes on a disk, against what the field table tells people.
#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>

#include "common/job_spec/fields.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/loop/tiny_job.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;

struct Size {
  int64_t parameters = 0;
  int64_t bytes = 0;
};

// Of the checkpoint that a job of one step leaves, its MLPs `width` wide.
StatusOr<Size> SizeAtWidth(const TinyJob& job, int64_t width, const std::string& precision,
                           const std::string& optim) {
  const std::string out = fmt::format("{}-{}-{}", precision, optim, width);
  std::vector<std::string> more;
  for (const std::string& set :
       {fmt::format("model.config.intermediate_size={}", width), "train.precision=" + precision,
        "train.optim=" + optim, std::string("train.max_steps=1"),
        std::string("train.warmup_steps=0"), std::string("evaluation.max_rows=1")}) {
    more.insert(more.end(), {"--set", set});
  }
  std::string output;
  ASSIGN_OR_RETURN(const int code, job.Run(out, more, &output));
  if (code != 0) return Internal("exit code {}: {}", code, output);
  Size size;
  constexpr std::string_view kCount = " parameters=";
  const size_t at = output.find(kCount);
  if (at == std::string::npos) return Internal("no count of parameters in {}", output);
  size.parameters = std::atoll(output.c_str() + at + kCount.size());
  ASSIGN_OR_RETURN(const fs::path folder, job.CheckpointOf(out, 1));
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) size.bytes += static_cast<int64_t>(entry.file_size());
  return size;
}

// Bytes for each parameter more, so that tokenizer, headers and manifest do not count. What grows
// with the width of the MLPs are matrices of blocks alone.
StatusOr<double> BytesPerParameter(const TinyJob& job, const std::string& precision,
                                   const std::string& optim) {
  ASSIGN_OR_RETURN(const Size narrow, SizeAtWidth(job, 160, precision, optim));
  ASSIGN_OR_RETURN(const Size wide, SizeAtWidth(job, 672, precision, optim));
  const int64_t more = wide.parameters - narrow.parameters;
  if (more != 2 * 3 * 64 * (672 - 160)) return Internal("{} parameters more", more);
  return static_cast<double>(wide.bytes - narrow.bytes) / static_cast<double>(more);
}

TEST(CheckpointBytes, PerParameterAreWhatTheFieldTableSays) {
  const TinyJob job;
  ASSERT_OK_AND_ASSIGN(const double fp32, BytesPerParameter(job, "fp32", "adamw"));
  ASSERT_OK_AND_ASSIGN(const double bf16, BytesPerParameter(job, "bf16", "adamw"));
  EXPECT_NEAR(fp32, std::round(fp32), 0.001);
  EXPECT_NEAR(bf16, std::round(bf16), 0.001);
  EXPECT_EQ(JobSpecFields().Child("checkpoint")->Child("save_total_limit")->text.cost,
            fmt::format("disk: {} bytes per parameter each in fp32, {} in bf16", std::lround(fp32),
                        std::lround(bf16)));
  // Muon has no use for a second moment of its matrices; their checkpoints hold one all the same.
  ASSERT_OK_AND_ASSIGN(const double muon, BytesPerParameter(job, "fp32", "muon"));
  EXPECT_NEAR(muon, fp32, 0.001);
}

}  // namespace
}  // namespace trainyard::worker

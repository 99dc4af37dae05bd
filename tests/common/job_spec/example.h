// A job file that every test of this folder starts from.
#pragma once

#include <gmock/gmock.h>

#include <string>

#include "common/job_spec/yaml.h"
#include "tests/support/status_matchers.h"

namespace trainyard {

inline constexpr char kExample[] = R"(version: 1
name: shakespeare
kind: pretrain
model:
  preset: llama-nano
tokenizer: {train: {vocab_size: 4096}}
data:
  train: [{path: plays/*.txt, format: text}]
  validation:
    - path: held-out.txt
train:
  max_steps: 400
  global_batch_size: 32
  learning_rate: 3.0e-3
resources: {ranks: 2, device: cpu}
)";

inline ParsedJob ExampleJob() {
  auto job = ParseJobYaml(kExample, "job.yaml");
  EXPECT_OK(job);
  return *std::move(job);
}

// The example with `from` replaced by `to`; `from` must be there.
inline std::string ExampleWith(const std::string& from, const std::string& to) {
  std::string text = kExample;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

}  // namespace trainyard

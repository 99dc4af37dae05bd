// What a job of kind evaluate found, by source of data.validation and in all.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace trainyard::worker {

struct DocumentScore {
  double nats = 0;  // log-likelihood of all its tokens
  int64_t tokens = 0;
  int64_t words = 0;  // as WordsOf counts them
  int64_t bytes = 0;  // of UTF-8
};

// EleutherAI's lm-evaluation-harness: sums over documents first, then
//   word_perplexity = exp(-nats / words)    byte_perplexity = exp(-nats / bytes)
//   bits_per_byte = -nats / (bytes ln 2)    perplexity = exp(-nats / tokens)
struct Perplexities {
  DocumentScore sum;
  int64_t documents = 0;
  double word_perplexity = 0, byte_perplexity = 0, bits_per_byte = 0, perplexity = 0;
};
Perplexities PerplexitiesOf(const std::vector<DocumentScore>& documents);

struct SourceScores {
  std::string name;  // its path, or what is known of it
  std::vector<DocumentScore> documents;
};

struct ModelReport {
  nlohmann::ordered_json setting;  // model, tokenizer, window, precision: what the numbers hold for
  std::vector<SourceScores> sources;

  Perplexities all() const;
};

// report.json: the setting, results of all and of each source, and every document's score, so that
// two models can be compared document by document.
std::string ReportJson(const ModelReport& report);
// report.txt: a table.
std::string ReportTable(const ModelReport& report);

}  // namespace trainyard::worker

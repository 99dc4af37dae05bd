#include "worker/loop/evaluation_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

double Exp(double nats, int64_t of) {
  return of == 0 ? 0 : std::exp(-nats / static_cast<double>(of));
}

Json ResultsJson(const Perplexities& found) {
  return {{"documents", found.documents},
          {"tokens", found.sum.tokens},
          {"words", found.sum.words},
          {"bytes", found.sum.bytes},
          {"loglikelihood", found.sum.nats},
          {"word_perplexity", found.word_perplexity},
          {"byte_perplexity", found.byte_perplexity},
          {"bits_per_byte", found.bits_per_byte},
          {"perplexity", found.perplexity}};
}

std::string Line(const std::string& name, size_t width, const Perplexities& found) {
  return fmt::format("{:<{}}  {:>9}  {:>9}  {:>15.4f}  {:>15.6f}  {:>13.6f}  {:>10.4f}\n", name,
                     width, found.documents, found.sum.tokens, found.word_perplexity,
                     found.byte_perplexity, found.bits_per_byte, found.perplexity);
}

}  // namespace

Perplexities PerplexitiesOf(const std::vector<DocumentScore>& documents) {
  Perplexities found;
  found.documents = static_cast<int64_t>(documents.size());
  for (const DocumentScore& document : documents) {
    found.sum.nats += document.nats;
    found.sum.tokens += document.tokens;
    found.sum.words += document.words;
    found.sum.bytes += document.bytes;
  }
  found.word_perplexity = Exp(found.sum.nats, found.sum.words);
  found.byte_perplexity = Exp(found.sum.nats, found.sum.bytes);
  found.perplexity = Exp(found.sum.nats, found.sum.tokens);
  if (found.sum.bytes > 0)
    found.bits_per_byte =
        -found.sum.nats / (static_cast<double>(found.sum.bytes) * std::numbers::ln2);
  return found;
}

Perplexities ModelReport::all() const {
  std::vector<DocumentScore> documents;
  for (const SourceScores& source : sources)
    documents.insert(documents.end(), source.documents.begin(), source.documents.end());
  return PerplexitiesOf(documents);
}

std::string ReportJson(const ModelReport& report) {
  Json json = {{"version", 1},
               {"setting", report.setting},
               {"results", ResultsJson(report.all())},
               {"sources", Json::array()}};
  for (const SourceScores& source : report.sources) {
    Json documents = Json::array();
    for (const DocumentScore& document : source.documents)
      documents.push_back({{"loglikelihood", document.nats},
                           {"tokens", document.tokens},
                           {"words", document.words},
                           {"bytes", document.bytes}});
    json["sources"].push_back({{"name", source.name},
                               {"results", ResultsJson(PerplexitiesOf(source.documents))},
                               {"documents", std::move(documents)}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ReportTable(const ModelReport& report) {
  size_t width = 6;
  for (const SourceScores& source : report.sources) width = std::max(width, source.name.size());
  std::string table;
  if (report.setting.contains("semantics")) {
    const Json& semantics = report.setting["semantics"];
    table = fmt::format("as {} {} counts\n", semantics["name"].get<std::string>(),
                        semantics["version"].get<std::string>());
  }
  table += fmt::format("{:<{}}  {:>9}  {:>9}  {:>15}  {:>15}  {:>13}  {:>10}\n", "source", width,
                       "documents", "tokens", "word_perplexity", "byte_perplexity", "bits_per_byte",
                       "perplexity");
  for (const SourceScores& source : report.sources)
    table += Line(source.name, width, PerplexitiesOf(source.documents));
  if (report.sources.size() > 1) table += Line("all", width, report.all());
  return table;
}

}  // namespace trainyard::worker

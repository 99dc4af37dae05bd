#include "worker/loop/evaluate_job.h"

#include <absl/cleanup/cleanup.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <optional>
#include <utility>

#include "common/documents/text_reader.h"
#include "common/files.h"
#include "worker/loop/checkpoints.h"
#include "worker/loop/evaluation_report.h"
#include "worker/loop/job_model.h"
#include "worker/loop/job_precision.h"
#include "worker/loop/join_peers.h"
#include "worker/loop/loglikelihood.h"
#include "worker/loop/outcome.h"
#include "worker/loop/peer_collective.h"
#include "worker/loop/precision.h"
#include "worker/loop/starting_model.h"
#include "worker/text/chat_template.h"

namespace trainyard::worker {
namespace {

using link::Phase;
using link::StopMode;

constexpr int64_t kStep = 1;  // of the result; an evaluation is one step
constexpr int64_t kDocumentBytesMax = int64_t{256} << 20;
constexpr size_t kDocumentsMax = 1'000'000;
constexpr int64_t kRowTokens = 2048;  // train.micro_batch_size rows of so many go together
// Tokens of windows that wait to be scored; bounds what is held beside one document.
constexpr int64_t kPendingTokensMax = int64_t{1} << 20;

class Evaluating {
 public:
  Evaluating(const RankContext& context, const StartingModel& model, Collective* collective)
      : context_(context), spec_(context.spec), model_(model), collective_(collective) {}

  Status Open();
  StatusOr<link::Outcome> Run();

 private:
  Status ReadSource(size_t index);
  Status AddDocument(std::string_view text);
  Status ScorePending();
  Status SumOverRanks();
  Status Save();
  Status Beat() const {
    context_.link->Beat(0, collective_ == nullptr ? 0 : collective_->sequence());
    return context_.link->stop() == StopMode::kNone ? OkStatus()
                                                    : StopRequested("the texts are scored");
  }

  const RankContext& context_;
  const JobSpec& spec_;
  const StartingModel& model_;
  Collective* const collective_;  // null: one rank

  std::optional<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  ScoringRules rules_;
  int64_t max_length_ = 0;

  ModelReport report_;
  int64_t windows_ = 0;  // of all ranks so far
  // Of this rank, not scored yet, and the document of each within its source.
  std::vector<ScoredText> pending_;
  std::vector<size_t> document_of_pending_;
  int64_t pending_tokens_ = 0;
};

StatusOr<ScoringRules> RulesOf(const StartingModel& model, const Tokenizer& tokenizer,
                               bool bos_twice) {
  const auto text = [&](const char* name) {
    const auto found = model.tokenizer_files.find(name);
    return found == model.tokenizer_files.end() ? std::nullopt
                                                : std::optional<std::string_view>(found->second);
  };
  ASSIGN_OR_RETURN(const std::string names,
                   TemplateVariables({.tokenizer_config = text("tokenizer_config.json"),
                                      .special_tokens_map = text("special_tokens_map.json"),
                                      .added_tokens = text("added_tokens.json")}));
  StatusOr<ScoringRules> rules = ScoringRulesOf(tokenizer, names, bos_twice);
  if (!rules.ok()) return WithField(Annotate(rules.status(), "model.from"), "model.from");
  return rules;
}

Status Evaluating::Open() {
  context_.link->SetPhase(Phase::kLoading);
  ASSIGN_OR_RETURN(tokenizer_, Tokenizer::Load(model_.tokenizer_json));
  ASSIGN_OR_RETURN(JobEngine made, CreateJobEngine(context_, model_, *tokenizer_, {},
                                                   /*learns=*/false));
  engine_ = std::move(made.engine);
  const ModelConfig& config = engine_->config();
  ASSIGN_OR_RETURN(rules_, RulesOf(model_, *tokenizer_, spec_.evaluation.bos_twice));
  max_length_ = spec_.evaluation.max_length;
  if (max_length_ == 0) max_length_ = config.max_length();
  if (max_length_ > config.max_length())
    return WithField(InvalidArgument("evaluation.max_length is {}, but the model has positions for "
                                     "{} tokens",
                                     max_length_, config.max_length()),
                     "evaluation.max_length");
  ASSIGN_OR_RETURN(const std::string prefix, tokenizer_->IdToToken(rules_.prefix_token));
  report_.setting = {{"job", context_.job.value},
                     {"model", spec_.model.from},
                     {"model_type", config.model_type},
                     {"parameters", config.parameter_count()},
                     {"tokenizer_sha256", Sha256(model_.tokenizer_json)},
                     {"semantics", {{"name", kScoringName}, {"version", kScoringVersion}}},
                     {"prefix_token", prefix},
                     {"bos_twice", rules_.bos_twice},
                     {"max_length", max_length_},
                     {"precision", PrecisionName(made.precision)}};
  for (const BlobRef& file : spec_.model.files)
    report_.setting["model_files"].push_back({{"name", file.name}, {"sha256", file.sha256}});
  return OkStatus();
}

Status Evaluating::AddDocument(std::string_view text) {
  SourceScores& source = report_.sources.back();
  if (source.documents.size() == kDocumentsMax)
    return InvalidArgument("there are more than {} documents", kDocumentsMax);
  ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, EncodeScored(*tokenizer_, text, rules_));
  // Scores are added as they come; what is counted here is counted by the first rank alone.
  const bool counts = context_.rank == 0;
  source.documents.push_back({.nats = 0,
                              .tokens = counts ? static_cast<int64_t>(tokens.size()) : 0,
                              .words = counts ? WordsOf(text) : 0,
                              .bytes = counts ? static_cast<int64_t>(text.size()) : 0});
  for (ScoredText& window : RollingWindows(tokens, rules_.prefix_token, max_length_)) {
    if (windows_++ % context_.ranks != context_.rank) continue;
    pending_tokens_ += static_cast<int64_t>(window.context.size() + window.continuation.size());
    pending_.push_back(std::move(window));
    document_of_pending_.push_back(source.documents.size() - 1);
    if (pending_tokens_ >= kPendingTokensMax) RETURN_IF_ERROR(ScorePending());
  }
  return OkStatus();
}

Status Evaluating::ScorePending() {
  const std::vector<ScoredText> texts = std::exchange(pending_, {});
  const std::vector<size_t> documents = std::exchange(document_of_pending_, {});
  pending_tokens_ = 0;
  ASSIGN_OR_RETURN(
      const std::vector<LogLikelihood> scores,
      Score(*engine_, texts,
            {.max_length = max_length_,
             .batch_tokens_max = spec_.train.micro_batch_size * std::min(max_length_, kRowTokens),
             .beat = [this] { return Beat(); }}));
  for (size_t i = 0; i < scores.size(); ++i)
    report_.sources.back().documents[documents[i]].nats += scores[i].nats;
  return OkStatus();
}

Status Evaluating::ReadSource(size_t index) {
  const DataSource& source = spec_.data.validation[index];
  report_.sources.push_back(
      {.name = source.path.empty() ? fmt::format("data.validation[{}]", index) : source.path,
       .documents = {}});
  std::string document;
  const DocumentSink sink{.text = [&](std::string_view text) -> Status {
                            document.append(text);
                            if (static_cast<int64_t>(document.size()) > kDocumentBytesMax)
                              return InvalidArgument("a document is larger than {} bytes",
                                                     kDocumentBytesMax);
                            return OkStatus();
                          },
                          .end = [&] { return AddDocument(std::exchange(document, {})); }};
  for (const BlobRef& file : source.files) {
    ASSIGN_OR_RETURN(const std::filesystem::path path, context_.dataset_path(file));
    ASSIGN_OR_RETURN(const TextFormat format, FormatOf(source.format, file.name));
    RETURN_IF_ERROR(
        ReadDocuments({.path = path, .name = file.name}, format, source.text_field, sink));
    RETURN_IF_ERROR(Beat());
  }
  RETURN_IF_ERROR(ScorePending());
  spdlog::info("evaluated={} documents={} windows={}", report_.sources.back().name,
               report_.sources.back().documents.size(), windows_);
  return OkStatus();
}

Status Evaluating::SumOverRanks() {
  if (collective_ == nullptr) return OkStatus();
  for (SourceScores& source : report_.sources) {
    std::vector<double> nats;
    for (const DocumentScore& document : source.documents) nats.push_back(document.nats);
    if (nats.empty()) continue;
    RETURN_IF_ERROR(
        collective_->AllReduceSum(std::span<double>(nats), context_.collective_timeout));
    for (size_t i = 0; i < nats.size(); ++i) source.documents[i].nats = nats[i];
  }
  return OkStatus();
}

StatusOr<link::Outcome> Evaluating::Run() {
  context_.link->SetPhase(Phase::kEvaluating);
  for (size_t i = 0; i < spec_.data.validation.size(); ++i) {
    const Status read = ReadSource(i);
    if (!read.ok()) return Annotate(read, fmt::format("data.validation[{}]", i));
  }
  RETURN_IF_ERROR(SumOverRanks());
  if (context_.rank != 0) {
    RETURN_IF_ERROR(SaveForGood(context_, kStep, nullptr));
    return Succeeded("the texts are scored");
  }
  const Perplexities all = report_.all();
  if (all.sum.tokens == 0)
    return WithField(InvalidArgument("data.validation: there is no text in it"), "data.validation");
  context_.link->Metrics(kStep, {{"eval_loss", -all.sum.nats / static_cast<double>(all.sum.tokens)},
                                 {"eval_perplexity", all.perplexity},
                                 {"eval_bits_per_byte", all.bits_per_byte},
                                 {"eval_word_perplexity", all.word_perplexity},
                                 {"eval_byte_perplexity", all.byte_perplexity}});
  const std::string table = ReportTable(report_);
  spdlog::info("report\n{}", table);
  RETURN_IF_ERROR(SaveForGood(context_, kStep, [&] {
    return SaveFiles(context_, kStep,
                     {{"report.json", ReportJson(report_)}, {"report.txt", table}});
  }));
  return Succeeded(
      fmt::format("word perplexity {:.3f}, bits per byte {:.4f} over {} tokens of {} "
                  "document(s)",
                  all.word_perplexity, all.bits_per_byte, all.sum.tokens, all.documents));
}

// Nothing is prepared but the choice of the first rank, for which the others wait.
Status AgreeOnPrecision(const RankContext& context, const StartingModel& model) {
  if (context.rank == 0) {
    ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(model.tokenizer_json));
    ASSIGN_OR_RETURN(const auto choices, ChooseForJob(context, model, tokenizer));
    context.link->ReportPrepared({}, choices);
  }
  if (context.spec.train.precision != "auto") return OkStatus();
  context.link->SetPhase(Phase::kWaiting);
  return context.link
      ->WaitUntil("the first rank has chosen a precision",
                  [](const link::Directive& d) {
                    return d.prepared.has_value() || d.stop != StopMode::kNone;
                  })
      .status();
}

StatusOr<link::Outcome> PrepareAndEvaluate(const RankContext& context) {
  context.link->SetPhase(Phase::kPreparing);
  ASSIGN_OR_RETURN(const StartingModel model, OpenStartingModel(context));
  RETURN_IF_ERROR(AgreeOnPrecision(context, model));
  ASSIGN_OR_RETURN(const std::unique_ptr<Collective> peers, JoinPeers(context));
  context.abort->Arm(peers.get());
  std::optional<PeerCollective> collective;
  if (peers != nullptr) collective.emplace(peers.get());
  const auto disarm = absl::MakeCleanup([&] { context.abort->Arm(nullptr); });
  if (context.link->directive().recorded_step >= kStep)
    return Succeeded("the report was written before");
  Evaluating evaluating(context, model, collective.has_value() ? &*collective : nullptr);
  RETURN_IF_ERROR(evaluating.Open());
  return evaluating.Run();
}

}  // namespace

link::Outcome EvaluateModel(const RankContext& context) {
  const StatusOr<link::Outcome> outcome = PrepareAndEvaluate(context);
  if (outcome.ok()) return *outcome;
  if (context.link->stop() == StopMode::kNow)
    return OutcomeOf(StopRequested("the texts are scored"));
  return OutcomeOf(outcome.status());
}

}  // namespace trainyard::worker

#include "worker/loop/job_precision.h"

#include <spdlog/spdlog.h>

#include "common/machine.h"
#include "common/plan/kept_paces.h"
#include "common/plan/number_format.h"
#include "worker/loop/checkpoints.h"
#include "worker/loop/job_model.h"
#include "worker/loop/outcome.h"
#include "worker/loop/precision.h"

namespace trainyard::worker {
namespace {

constexpr char kSelf[] = "/proc/self/exe";
constexpr int64_t kWindowMax = 512;  // of an evaluation's probe

// How the job's model is used, and what a pace of it means.
struct Question {
  plan::Probe probe;
  plan::RankShape whole;
};

StatusOr<Question> QuestionOf(const RankContext& context, const StartingModel& model,
                              const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const int64_t vocab_size, VocabularyOfJob(model, tokenizer));
  ASSIGN_OR_RETURN(ModelConfig config, ModelOfJob(context.spec, model, vocab_size, {}));
  Question question;
  const bool trains = context.spec.kind != "evaluate";
  const int64_t places = config.max_length();
  question.whole = plan::RankShapeWith(context.spec, std::move(config), /*bfloat16=*/false);
  if (!trains) {
    question.whole.step.rows = 1;
    question.whole.step.length = std::min(places, kWindowMax);
  }
  question.probe =
      plan::ProbeOf(question.whole.step, trains ? plan::Work::kTraining : plan::Work::kReading);
  return question;
}

plan::Rates RatesOf(const Question& question, const plan::Paces& paces) {
  const auto rate = [&](const plan::Pace& pace) {
    return question.probe.work == plan::Work::kTraining
               ? plan::TrainingRate(question.probe, pace, question.whole)
               : plan::ForwardRate(question.probe, pace, question.whole.step);
  };
  return {.fp32 = rate(paces.fp32), .bf16 = rate(paces.bf16)};
}

Choice ChoiceOf(const plan::NumberFormat& format) {
  return {.field = kPrecisionField, .value = format.bfloat16 ? "bf16" : "fp32", .why = format.why};
}

StatusOr<Choice> Measured(const RankContext& context, const StartingModel& model,
                          const Tokenizer& tokenizer) {
  const bool flags = ThisMachineMultipliesBfloat16();
  const auto without = [&](const Status& why) {
    return ChoiceOf(plan::ChooseNumberFormat({}, flags, MessageOf(why)));
  };
  const StatusOr<Question> question = QuestionOf(context, model, tokenizer);
  // The loop itself will say what is wrong with the model.
  if (!question.ok()) return without(question.status());
  const auto go_on = [&] {
    context.link->Doing("measuring in which precision this host is faster");
    return context.link->stop() != link::StopMode::kNow;
  };
  const StatusOr<plan::Paces> paces = plan::FindPaces(
      question->probe, {.file = context.paces_file, .trainer = kSelf, .go_on = go_on});
  if (context.link->stop() == link::StopMode::kNow) return StopRequested("both are measured");
  if (!paces.ok()) return without(paces.status());
  return ChoiceOf(plan::ChooseNumberFormat(RatesOf(*question, *paces), flags, ""));
}

}  // namespace

StatusOr<std::vector<Choice>> ChooseForJob(const RankContext& context, const StartingModel& model,
                                           const Tokenizer& tokenizer) {
  if (context.spec.train.precision != "auto" || context.spec.resources.device != "cpu") {
    return std::vector<Choice>();
  }
  ASSIGN_OR_RETURN(const link::Directive directive,
                   context.link->WaitUntil("the worker has said what is recorded",
                                           [](const link::Directive&) { return true; }));
  if (directive.prepared.has_value()) return directive.choices.value_or(std::vector<Choice>());
  if (directive.resume.has_value()) {
    const std::string trained_in = PrecisionOfCheckpoint(context, *directive.resume);
    if (!trained_in.empty()) {
      return std::vector<Choice>{{.field = kPrecisionField,
                                  .value = trained_in,
                                  .why = "as " + directive.resume->key + " was trained"}};
    }
  }
  ASSIGN_OR_RETURN(const Choice choice, Measured(context, model, tokenizer));
  return std::vector<Choice>{choice};
}

}  // namespace trainyard::worker

#include "worker/loop/pretrain.h"

#include <absl/cleanup/cleanup.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/files.h"
#include "common/job_spec/json.h"
#include "worker/data/evaluation_rows.h"
#include "worker/loop/checkpoints.h"
#include "worker/loop/evaluate.h"
#include "worker/loop/job_model.h"
#include "worker/loop/job_tokens.h"
#include "worker/loop/join_peers.h"
#include "worker/loop/memory_log.h"
#include "worker/loop/outcome.h"
#include "worker/loop/peer_collective.h"
#include "worker/loop/precision.h"
#include "worker/loop/prepare_phase.h"
#include "worker/loop/replicas.h"
#include "worker/loop/skips.h"
#include "worker/loop/step_clock.h"
#include "worker/loop/step_log.h"
#include "worker/loop/training_checkpoints.h"
#include "worker/loop/update_options.h"
#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {
namespace {

using link::Phase;
using link::StopMode;

// What changes from step to step beside the engine; part of every checkpoint.
struct Progress {
  int64_t step = 0;  // steps done
  Skips skips;
};

class Pretraining {
 public:
  Pretraining(const RankContext& context, const StartingModel& model, const PreparedData& data,
              Collective* collective)
      : context_(context),
        spec_(context.spec),
        link_(*context.link),
        model_(model),
        data_(data),
        collective_(collective),
        step_clock_(context.clock),
        checkpoints_(&context, [this] { return Contents(); }) {}

  // Makes or resumes everything that the steps need.
  Status Open();
  // Steps until the last one, or until somebody wants to stop, and all checkpoints.
  StatusOr<link::Outcome> Run();
  // Whether this process has done a step.
  bool has_stepped() const { return has_stepped_; }

 private:
  StatusOr<link::Outcome> Steps();
  StatusOr<StepReport> Step();
  void TellSkip(const StepReport& report);
  Status LogStep(const StepReport& report, absl::Duration took);
  Status EvaluateNow();
  Status OpenData();
  Status Resume();
  StatusOr<CheckpointContents> Contents();
  std::string DataDescription() const;
  StatusOr<link::Outcome> StopHere();
  Status Beat();
  bool first_rank() const { return context_.rank == 0; }
  const Masking* masking() const { return masking_.has_value() ? &*masking_ : nullptr; }
  bool Due(int64_t every) const { return every > 0 && progress_.step % every == 0; }
  TrainingState State() const;

  const RankContext& context_;
  const JobSpec& spec_;
  RankLink& link_;
  const StartingModel& model_;
  const PreparedData& data_;
  Collective* const collective_;  // null: one rank

  JobEngine made_;
  Engine* engine_ = nullptr;        // made_'s
  std::optional<Masking> masking_;  // of objective masked
  TokenizerContents tokenizer_;     // as checkpoints have it
  std::optional<Loader> loader_;
  std::optional<EvaluationRows> validation_;
  Schedule schedule_;
  UpdateOptions update_options_;  // of the step in progress
  Progress progress_;
  bool has_stepped_ = false;
  std::string conclusion_;  // of the last evaluation

  StepClock step_clock_;
  std::optional<StepLog> step_log_;
  TrainingCheckpoints checkpoints_;
  MemoryLog memory_log_;
};

// -------------------------------------------------------------------------------------- the step

StatusOr<StepReport> Pretraining::Step() {
  const int64_t step = progress_.step;  // from 0
  StepReport report;
  report.sums.loss_of_rank.resize(static_cast<size_t>(context_.ranks));
  double& own_loss = report.sums.loss_of_rank[static_cast<size_t>(context_.rank)];

  step_clock_.Enter(StepPhase::kData);
  report.targets = loader_->TargetsInStep(step);
  report.places = loader_->places_per_step();
  ASSIGN_OR_RETURN(const CrossEntropy objective, CrossEntropy::Over(report.targets));
  ASSIGN_OR_RETURN(
      const std::vector<Batch> micro_batches,
      loader_->MicroBatches(step, context_.rank, context_.ranks, spec_.train.micro_batch_size));

  step_clock_.Enter(StepPhase::kForwardBackward);
  const SumOver ranks{.collective = collective_, .timeout = context_.collective_timeout};
  for (const Batch& micro_batch : micro_batches) {
    const bool last = &micro_batch == &micro_batches.back();
    ASSIGN_OR_RETURN(const StepLoss part,
                     engine_->ForwardBackward(micro_batch, objective, last ? ranks : SumOver{}));
    own_loss += part.loss_sum;
    report.sums.matches += static_cast<double>(part.argmax_matches);
    RETURN_IF_ERROR(Beat());
  }

  step_clock_.Enter(StepPhase::kUpdate);
  report.learning_rate = schedule_.LearningRate(step);
  update_options_.learning_rate = report.learning_rate;
  ASSIGN_OR_RETURN(report.update, engine_->Update(update_options_, collective_));
  step_clock_.Move(StepPhase::kUpdate, StepPhase::kReduce, report.update.summing);

  step_clock_.Enter(StepPhase::kReduce);
  report.sums.stop_requested = link_.stop() == StopMode::kCheckpoint ? 1 : 0;
  report.sums.agents_gone = link_.agent_gone() ? 1 : 0;
  RETURN_IF_ERROR(SumOverRanks(report.sums, collective_, context_.collective_timeout));
  step_clock_.Leave();
  report.step = ++progress_.step;
  has_stepped_ = true;
  return report;
}

StatusOr<link::Outcome> Pretraining::Run() {
  StatusOr<link::Outcome> outcome = Steps();
  checkpoints_.Wait(progress_.step);  // after an error: what is being written may still count
  memory_log_.Tell(spec_, data_.tokenizer->vocab_size(), made_.precision == Precision::kBfloat16,
                   context_.rank);
  return outcome;
}

StatusOr<link::Outcome> Pretraining::Steps() {
  while (progress_.step < spec_.train.max_steps) {
    link_.SetPhase(Phase::kTraining);
    const absl::Duration begin = context_.clock->Elapsed();
    ASSIGN_OR_RETURN(const StepReport report, Step());
    if (report.update.skipped) TellSkip(report);
    RETURN_IF_ERROR(progress_.skips.Count(report));
    const bool last = progress_.step == spec_.train.max_steps;
    RETURN_IF_ERROR(LogStep(report, context_.clock->Elapsed() - begin));

    if (!last && report.sums.stop_requested + report.sums.agents_gone > 0) {
      return StopHere();
    }
    if (last || Due(spec_.evaluation.eval_steps)) RETURN_IF_ERROR(EvaluateNow());
    if (last || !Due(spec_.checkpoint.save_steps)) continue;
    RETURN_IF_ERROR(
        CompareReplicas(*engine_, collective_, context_.collective_timeout, progress_.step));
    // One that cannot be written is told, and the job goes on: earlier ones are intact.
    checkpoints_.WriteBeside().IgnoreError();
  }
  RETURN_IF_ERROR(
      CompareReplicas(*engine_, collective_, context_.collective_timeout, progress_.step));
  RETURN_IF_ERROR(checkpoints_.WriteForGood(progress_.step));
  return Succeeded(fmt::format("all {} steps are done{}{}", progress_.step,
                               conclusion_.empty() ? "" : "; ", conclusion_));
}

Status Pretraining::Beat() {
  link_.Beat(progress_.step, collective_ == nullptr ? 0 : collective_->sequence());
  if (link_.stop() == StopMode::kNow) return StopRequested("the step was done");
  return OkStatus();
}

// ------------------------------------------------------------------- what is said about the steps

void Pretraining::TellSkip(const StepReport& report) {
  const std::string what = WhatWasSkipped(report);
  spdlog::warn("{}", what);
  if (first_rank()) link_.Event("STEP_SKIPPED", what);
}

Status Pretraining::LogStep(const StepReport& report, absl::Duration took) {
  link_.StepTook(took);
  step_log_->Add(took);
  const bool last = progress_.step == spec_.train.max_steps;
  if (first_rank() && (last || Due(spec_.train.logging_steps))) {
    step_log_->Tell(link_, report, step_clock_);
  }
  return Beat();
}

Status Pretraining::EvaluateNow() {
  if (!validation_.has_value()) return OkStatus();
  link_.SetPhase(Phase::kEvaluating);
  const bool last = progress_.step == spec_.train.max_steps;
  ASSIGN_OR_RETURN(const EvaluationReport report,
                   EvaluateAndReport(*engine_, *validation_, last,
                                     {.micro_batch_rows = spec_.train.micro_batch_size,
                                      .collective = collective_,
                                      .timeout = context_.collective_timeout,
                                      .beat = [this] { return Beat(); }}));
  conclusion_ = report.conclusion;
  if (!first_rank()) return OkStatus();
  link_.Metrics(progress_.step, report.metrics);
  spdlog::info("step={} {}", progress_.step, report.line);
  return OkStatus();
}

// ----------------------------------------------------------------------------------- checkpoints

TrainingState Pretraining::State() const {
  return {.job = context_.job.value,
          .attempt = context_.attempt,
          .step = progress_.step,
          .update_count = engine_->update_count(),
          .loader = {{"step", progress_.step}},
          .schedule = {{"skips", progress_.skips.total},
                       {"skips_in_a_row", progress_.skips.in_a_row},
                       {"optim", spec_.train.optim},
                       {"precision", PrecisionName(made_.precision)}},
          .data_sha256 = loader_->digest(),
          .tokenizer_sha256 = Sha256(data_.tokenizer->json()),
          .spec_sha256 = Sha256(JobSpecToJson(spec_).dump())};
}

StatusOr<CheckpointContents> Pretraining::Contents() {
  ASSIGN_OR_RETURN(const std::vector<ParameterView> parameters, engine_->Parameters());
  return CheckpointContents{.state = State(),
                            .engine = kPolicy,
                            .parameters = parameters,
                            .weight_format = made_.precision == Precision::kBfloat16
                                                 ? WeightFormat::kBfloat16
                                                 : WeightFormat::kFloat32,
                            .model_config = ModelConfigToJson(engine_->config()),
                            .tokenizer = tokenizer_,
                            .masked = masking_.has_value(),
                            .data_description = DataDescription()};
}

// What was seen up to here, not what there is to see.
std::string Pretraining::DataDescription() const {
  const int64_t seen = progress_.step * loader_->places_per_step();
  return fmt::format("{} {} tokens: {:.3g} passes over {} tokens of text from {} source{}.",
                     model_.has_weights() ? "Trained further on" : "Pretrained on", seen,
                     static_cast<double>(seen) / static_cast<double>(loader_->places_per_epoch()),
                     loader_->tokens_per_epoch(), loader_->sources(),
                     loader_->sources() == 1 ? "" : "s");
}

// All ranks do this after the same step.
StatusOr<link::Outcome> Pretraining::StopHere() {
  const std::string at =
      fmt::format("stopped after step {} of {}", progress_.step, spec_.train.max_steps);
  RETURN_IF_ERROR(
      CompareReplicas(*engine_, collective_, context_.collective_timeout, progress_.step));
  if (link_.agent_gone()) {
    const Status saved = checkpoints_.WriteNow(progress_.step);
    return Stopped(kAgentLost,
                   fmt::format("{}: no agent has dialled for too long; its checkpoint {}", at,
                               saved.ok() ? "is written" : "could not be written"));
  }
  const Status saved = checkpoints_.WriteForGood(progress_.step);
  if (saved.ok()) return Stopped(kStopped, at + ", as asked");
  if (ReasonOf(saved) != kDiskFull) return saved;
  return Stopped(kStopped,
                 fmt::format("{}, as asked, without a checkpoint: {}", at, MessageOf(saved)));
}

// --------------------------------------------------------------------------------- the beginning

Status Pretraining::Open() {
  link_.SetPhase(Phase::kLoading);
  memory_log_.Begin();
  ASSIGN_OR_RETURN(schedule_, ScheduleOf(spec_.train));
  ASSIGN_OR_RETURN(update_options_, UpdateOptionsOf(spec_.train));
  update_options_.timeout = context_.collective_timeout;

  RETURN_IF_ERROR(OpenData());
  ASSIGN_OR_RETURN(made_, CreateJobEngine(context_, model_, *data_.tokenizer, tokenizer_));
  engine_ = made_.engine.get();
  ASSIGN_OR_RETURN(const std::vector<ParameterView> parameters, engine_->Parameters());
  checkpoints_.Prepare(parameters);
  return Resume();
}

Status Pretraining::OpenData() {
  ASSIGN_OR_RETURN(masking_, MaskingOfJob(spec_, *data_.tokenizer));
  ASSIGN_OR_RETURN(tokenizer_, TokenizerOfCheckpoint(spec_, data_, model_, masking()));
  ASSIGN_OR_RETURN(loader_,
                   Loader::Create(data_.train, {.seed = static_cast<uint64_t>(spec_.train.seed),
                                                .max_length = spec_.train.max_length,
                                                .global_batch_size = spec_.train.global_batch_size,
                                                .masking = masking()}));
  step_log_.emplace(loader_->places_per_epoch());
  if (data_.validation.empty()) return OkStatus();
  ASSIGN_OR_RETURN(validation_, EvaluationRows::Create(data_.validation, spec_.train.max_length,
                                                       spec_.evaluation.max_rows, masking()));
  return OkStatus();
}

Status Pretraining::Resume() {
  const std::optional<link::ResumePoint> from = link_.directive().resume;
  if (!from.has_value()) return OkStatus();
  ASSIGN_OR_RETURN(const TrainingState state,
                   LoadCheckpoint(context_, *from, kPolicy, *engine_, State()));
  // A checkpoint that does not say is older than the choice.
  RETURN_IF_ERROR(
      CheckOptimiserOf(from->key, state.schedule.value("optim", "adamw"), spec_.train.optim));
  if (state.step > spec_.train.max_steps) {
    return WithField(InvalidArgument("train.max_steps is {}, but checkpoint {} is of step {}",
                                     spec_.train.max_steps, from->key, state.step),
                     "train.max_steps");
  }
  progress_ = {.step = state.step,
               .skips = {.total = state.schedule.value("skips", int64_t{0}),
                         .in_a_row = state.schedule.value("skips_in_a_row", int64_t{0})}};
  checkpoints_.Resumed(state.step);
  RETURN_IF_ERROR(Beat());
  spdlog::info("step={} resumed={}", progress_.step, from->key);
  if (first_rank())
    link_.Event("RESUMED", fmt::format("goes on from step {} ({})", state.step, from->key));
  return OkStatus();
}

StatusOr<link::Outcome> PrepareAndTrain(const RankContext& context) {
  context.link->SetPhase(Phase::kPreparing);
  ASSIGN_OR_RETURN(const StartingModel model, OpenStartingModel(context));
  ASSIGN_OR_RETURN(const PreparedData data, PreparePhase(context, model));
  ASSIGN_OR_RETURN(const std::unique_ptr<Collective> peers, JoinPeers(context));
  context.abort->Arm(peers.get());
  std::optional<PeerCollective> collective;
  if (peers != nullptr) collective.emplace(peers.get());
  Pretraining training(context, model, data, collective.has_value() ? &*collective : nullptr);
  const auto disarm = absl::MakeCleanup([&] { context.abort->Arm(nullptr); });
  RETURN_IF_ERROR(training.Open());
  StatusOr<link::Outcome> outcome = training.Run();
  if (!outcome.ok() && !training.has_stepped()) return PeersLeft(context, outcome.status());
  return outcome;
}

}  // namespace

link::Outcome Pretrain(const RankContext& context) {
  const StatusOr<link::Outcome> outcome = PrepareAndTrain(context);
  if (outcome.ok()) return *outcome;
  // Told to go at once: whatever broke then broke because of it.
  if (context.link->stop() == StopMode::kNow) return OutcomeOf(StopRequested("the job was done"));
  return OutcomeOf(outcome.status());
}

}  // namespace trainyard::worker

#include "worker/loop/update_options.h"

namespace trainyard::worker {
namespace {

StatusOr<Optimiser> OptimiserFromName(const std::string& name) {
  if (name == "adamw") return Optimiser::kAdamW;
  if (name == "muon") return Optimiser::kMuon;
  return WithField(InvalidArgument("train.optim is '{}'; write adamw or muon", name),
                   "train.optim");
}

}  // namespace

StatusOr<UpdateOptions> UpdateOptionsOf(const TrainSpec& train) {
  ASSIGN_OR_RETURN(const Optimiser optimiser, OptimiserFromName(train.optim));
  return UpdateOptions{.optimiser = optimiser,
                       .learning_rate = 0,
                       .beta1 = train.adam_beta1,
                       .beta2 = train.adam_beta2,
                       .epsilon = train.adam_epsilon,
                       .muon_momentum = train.muon_momentum,
                       .weight_decay = train.weight_decay,
                       .max_grad_norm = train.max_grad_norm};
}

StatusOr<Schedule> ScheduleOf(const TrainSpec& train) {
  ASSIGN_OR_RETURN(const ScheduleKind kind, ScheduleKindFromName(train.lr_scheduler_type));
  return Schedule{.kind = kind,
                  .peak = train.learning_rate,
                  .min_lr_ratio = train.min_lr_ratio,
                  .warmup_steps = train.warmup_steps,
                  .decay_steps = train.decay_steps,
                  .max_steps = train.max_steps};
}

Status CheckOptimiserOf(const std::string& checkpoint, const std::string& saved,
                        const std::string& wanted) {
  if (saved == wanted) return OkStatus();
  return WithField(
      InvalidArgument(
          "train.optim is {}, but checkpoint {} was written with {}: go on with that, or "
          "start a new job",
          wanted, checkpoint, saved),
      "train.optim");
}

}  // namespace trainyard::worker

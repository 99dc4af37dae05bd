#include "common/metrics/job_metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace trainyard {

const std::vector<JobMetric>& JobMetrics() {
  static const std::vector<JobMetric> kMetrics = {
      {"loss", "trainyard_train_loss", "Mean loss of the last step, nats per target token."},
      {"learning_rate", "trainyard_train_learning_rate", "Learning rate of the last update."},
      {"grad_norm", "trainyard_train_grad_norm", "L2 norm of the gradients before clipping."},
      {"mean_token_accuracy", "trainyard_train_token_accuracy_ratio",
       "Share of target tokens whose most likely prediction was right."},
      {"tokens_total", "trainyard_train_tokens_total", "Tokens of the rows trained on.", true},
      {"tokens_per_second", "trainyard_train_tokens_per_second",
       "Tokens of rows a second over all ranks."},
      {"mfu", "trainyard_train_mfu_ratio", "Model FLOP/s as a share of the hardware's peak."},
      {"step_seconds", "trainyard_train_step_seconds", "Wall time of a step."},
      {"checkpoint_seconds", "trainyard_checkpoint_duration_seconds",
       "Time from a checkpoint's copy, or the step itself, until its files are durable."},
      {"epoch", "trainyard_train_epochs", "Passes over the training data."},
      {"eval_loss", "trainyard_evaluation_loss", "Loss on the validation data, nats per token."},
      {"eval_perplexity", "trainyard_evaluation_perplexity", "exp(loss) on the validation data."},
      {"eval_bits_per_byte", "trainyard_evaluation_bits_per_byte",
       "Bits per byte of text on the validation data."},
      {"eval_mean_token_accuracy", "trainyard_evaluation_token_accuracy_ratio",
       "Share of validation tokens predicted right."},
      {"eval_masked_accuracy", "trainyard_evaluation_masked_accuracy_ratio",
       "Share of masked validation tokens predicted right."},
      {"eval_commonest_token_accuracy", "trainyard_evaluation_commonest_token_accuracy_ratio",
       "What always guessing the commonest masked validation token would give."},
      {"eval_pseudo_perplexity", "trainyard_evaluation_pseudo_perplexity",
       "exp(loss) of validation tokens masked one at a time."},
      {"eval_word_perplexity", "trainyard_evaluation_word_perplexity",
       "exp(-log-likelihood / words) of the texts a job of kind evaluate scored."},
      {"eval_byte_perplexity", "trainyard_evaluation_byte_perplexity",
       "exp(-log-likelihood / bytes) of the texts a job of kind evaluate scored."},
      {"rewards/chosen", "trainyard_train_rewards_chosen", "Mean reward of chosen answers."},
      {"rewards/rejected", "trainyard_train_rewards_rejected", "Mean reward of rejected answers."},
      {"rewards/margins", "trainyard_train_rewards_margins", "Mean of chosen minus rejected."},
      {"rewards/accuracies", "trainyard_train_rewards_accuracy_ratio",
       "Share of pairs whose chosen answer has the larger reward."},
      {"reward", "trainyard_rl_reward_mean", "Mean reward of the step's rollouts."},
      {"reward_std", "trainyard_rl_reward_std", "Standard deviation of rewards within a group."},
      {"kl", "trainyard_rl_kl", "KL divergence from the reference policy, nats per token."},
      {"entropy", "trainyard_rl_entropy", "Entropy of the policy, nats per token."},
      {"clip_ratio/region_mean", "trainyard_rl_clip_ratio", "Share of tokens that were clipped."},
      {"completions/mean_length", "trainyard_rl_response_tokens_mean", "Mean length of responses."},
      {"completions/clipped_ratio", "trainyard_rl_truncated_ratio",
       "Share of responses cut at their maximum length."},
      {"logprob_gap", "trainyard_rl_logprob_gap",
       "Mean gap between the log-probs of rollout and training."},
      {"policy_lag_steps", "trainyard_rl_policy_lag_steps",
       "Steps between the policy that answered and the one that learns."},
  };
  return kMetrics;
}

const JobMetric* FindJobMetric(std::string_view name) {
  const auto& metrics = JobMetrics();
  const auto found = std::find_if(metrics.begin(), metrics.end(),
                                  [&](const JobMetric& metric) { return metric.name == name; });
  return found == metrics.end() ? nullptr : &*found;
}

std::string JobMetricsMarkdown() {
  std::string text = "| in the job | in Prometheus | meaning |\n|---|---|---|\n";
  for (const JobMetric& metric : JobMetrics())
    text += fmt::format("| `{}` | `{}` | {} |\n", metric.name, metric.prometheus, metric.help);
  return text;
}

}  // namespace trainyard

#include "worker/engine/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace trainyard::worker {
namespace {

Choice Greedy(std::span<const float> logit_V) {
  const auto best = std::max_element(logit_V.begin(), logit_V.end());
  double sum = 0;
  for (const float logit : logit_V) sum += std::exp(static_cast<double>(logit) - *best);
  return {.token = static_cast<int32_t>(best - logit_V.begin()),
          .logprob = static_cast<float>(-std::log(sum))};
}

// Ids from likeliest to least likely, cut to the first `keep`.
std::vector<int32_t> Likeliest(const std::vector<double>& p_V, size_t keep) {
  std::vector<int32_t> ids(p_V.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const double p_a = p_V[static_cast<size_t>(a)], p_b = p_V[static_cast<size_t>(b)];
    return p_a != p_b ? p_a > p_b : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<int64_t>(keep), ids.end(), likelier);
  ids.resize(keep);
  return ids;
}

// The ids that top-k, top-p and min-p leave; from likeliest to least likely where there are any.
std::vector<int32_t> Kept(const std::vector<double>& p_V, const SampleOptions& options) {
  const size_t all =
      options.top_k > 0 ? std::min(p_V.size(), static_cast<size_t>(options.top_k)) : p_V.size();
  if (all == p_V.size() && options.top_p == 1 && options.min_p == 0) {
    std::vector<int32_t> ids(all);
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
  }
  // Top-p is a share of what top-k leaves.
  double wanted = options.top_p;
  if (options.top_k > 0) {
    double kept = 0;
    for (const int32_t id : Likeliest(p_V, all)) kept += p_V[static_cast<size_t>(id)];
    wanted *= kept;
  }
  // The head of the order is nearly always enough, and sorting all of a vocabulary is slow.
  for (size_t sorted = std::min(all, size_t{256});; sorted = std::min(all, 8 * sorted)) {
    std::vector<int32_t> ids = Likeliest(p_V, sorted);
    const auto p = [&](size_t rank) { return p_V[static_cast<size_t>(ids[rank])]; };
    double mass = 0;
    size_t count = 0;
    while (count < sorted && (count == 0 || mass < wanted)) mass += p(count++);
    if (count == sorted && sorted < all && mass < wanted) continue;
    while (count > 1 && p(count - 1) < options.min_p * p(0)) --count;
    ids.resize(count);
    return ids;
  }
}

std::vector<double> Softmax(std::span<const float> logit_V, double temperature) {
  const double max = *std::max_element(logit_V.begin(), logit_V.end());
  std::vector<double> p_V(logit_V.size());
  double sum = 0;
  for (size_t i = 0; i < p_V.size(); ++i) {
    p_V[i] = std::exp((logit_V[i] - max) / temperature);
    sum += p_V[i];
  }
  for (double& p : p_V) p /= sum;
  return p_V;
}

std::vector<float> Penalised(std::span<const float> logit_V, std::span<const int32_t> context,
                             double penalty) {
  std::vector<float> changed_V(logit_V.begin(), logit_V.end());
  for (const int32_t id : context) {
    const float logit = logit_V[static_cast<size_t>(id)];
    changed_V[static_cast<size_t>(id)] =
        static_cast<float>(logit > 0 ? logit / penalty : logit * penalty);
  }
  return changed_V;
}

}  // namespace

Choice ChooseToken(std::span<const float> logit_V, const SampleOptions& options,
                   std::span<const int32_t> context, double uniform) {
  std::vector<float> penalised_V;
  if (options.repetition_penalty != 1) {
    penalised_V = Penalised(logit_V, context, options.repetition_penalty);
    logit_V = penalised_V;
  }
  if (options.temperature == 0) return Greedy(logit_V);
  const std::vector<double> p_V = Softmax(logit_V, options.temperature);
  const std::vector<int32_t> ids = Kept(p_V, options);
  const auto p = [&](size_t i) { return p_V[static_cast<size_t>(ids[i])]; };
  double mass = 0;
  for (size_t i = 0; i < ids.size(); ++i) mass += p(i);
  double left = uniform * mass;
  size_t pick = 0;
  while (pick + 1 < ids.size() && left >= p(pick)) left -= p(pick++);
  return {.token = ids[pick], .logprob = static_cast<float>(std::log(p(pick)))};
}

Status CheckSampleOptions(const SampleOptions& options) {
  if (options.max_new_tokens < 0) {
    return InvalidArgument("max_new_tokens must be 0 or more, got {}", options.max_new_tokens);
  }
  if (!(options.temperature >= 0) || std::isinf(options.temperature)) {
    return InvalidArgument("temperature must be 0 (greedy) or more, got {}", options.temperature);
  }
  if (options.top_k < 0)
    return InvalidArgument("top_k must be 0 (off) or more, got {}", options.top_k);
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return InvalidArgument("top_p must be above 0 and at most 1, got {}", options.top_p);
  }
  if (!(options.min_p >= 0 && options.min_p <= 1)) {
    return InvalidArgument("min_p must be between 0 and 1, got {}", options.min_p);
  }
  if (!(options.repetition_penalty > 0) || std::isinf(options.repetition_penalty)) {
    return InvalidArgument("repetition_penalty must be above 0, got {}",
                           options.repetition_penalty);
  }
  if (options.batch_max < 1) {
    return InvalidArgument("batch_max must be at least 1, got {}", options.batch_max);
  }
  return OkStatus();
}

}  // namespace trainyard::worker

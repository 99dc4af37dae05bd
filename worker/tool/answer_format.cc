#include "worker/tool/answer_format.h"

#include <algorithm>
#include <cstdio>

#include "common/files.h"
#include "common/machine.h"
#include "common/plan/kept_paces.h"

namespace trainyard::worker {
namespace {

constexpr char kSelf[] = "/proc/self/exe";
constexpr int64_t kReadingMax = 512;  // tokens of its probe's rows

StatusOr<plan::Rates> RatesHere(const ModelConfig& config, plan::Work work,
                                const OpenOptions& options) {
  const plan::StepShape shape{
      .model = config,
      .rows = work == plan::Work::kDecoding ? std::max<int64_t>(1, options.use.rows) : 1,
      .length =
          std::clamp<int64_t>(options.use.reads, 1, std::min(kReadingMax, config.max_length())),
      .threads = options.threads};
  const plan::Probe probe = plan::ProbeOf(shape, work);
  const std::filesystem::path home = DefaultHome();
  MakeFolders(home).IgnoreError();  // then nothing is kept
  ASSIGN_OR_RETURN(
      const plan::Paces paces,
      plan::FindPaces(probe, {.file = home / "paces.json", .trainer = kSelf, .go_on = {}}));
  return plan::Rates{.fp32 = plan::ForwardRate(probe, paces.fp32, shape),
                     .bf16 = plan::ForwardRate(probe, paces.bf16, shape)};
}

StatusOr<plan::NumberFormat> Measured(const ModelConfig& config, const OpenOptions& options) {
  ASSIGN_OR_RETURN(const plan::Rates reading, RatesHere(config, plan::Work::kReading, options));
  plan::Rates decoding;
  if (options.use.decodes > 0) {
    ASSIGN_OR_RETURN(decoding, RatesHere(config, plan::Work::kDecoding, options));
  }
  plan::NumberFormat format =
      plan::ChooseNumberFormat(RatesOfUse(options.use, reading, decoding), false, "");
  const auto told = [](const char* what, const plan::Rates& rates) {
    return fmt::format("{} fp32 {}, bf16 {} tokens/s", what, plan::RateText(rates.fp32),
                       plan::RateText(rates.bf16));
  };
  format.why = "measured: " + told("reading", reading);
  if (options.use.decodes > 0) format.why += "; " + told("decoding", decoding);
  return format;
}

}  // namespace

plan::Rates RatesOfUse(const OpenOptions::Use& use, const plan::Rates& reading,
                       const plan::Rates& decoding) {
  const auto tokens = static_cast<double>(use.reads + use.decodes);
  const auto rate = [&](double read, double decoded) {
    double seconds = use.reads > 0 ? static_cast<double>(use.reads) / read : 0;
    if (use.decodes > 0) seconds += static_cast<double>(use.decodes) / decoded;
    return seconds > 0 ? tokens / seconds : 0;
  };
  return {.fp32 = rate(reading.fp32, decoding.fp32), .bf16 = rate(reading.bf16, decoding.bf16)};
}

Precision AnswerFormat(const ModelConfig& config, const OpenOptions& options) {
  if (options.precision == "fp32") return Precision::kFloat32;
  if (options.precision == "bf16") return Precision::kBfloat16;
  StatusOr<plan::NumberFormat> format = Measured(config, options);
  if (!format.ok()) {
    format =
        plan::ChooseNumberFormat({}, ThisMachineMultipliesBfloat16(), MessageOf(format.status()));
  }
  std::fprintf(stderr, "precision: auto is %s, %s\n", format->bfloat16 ? "bf16" : "fp32",
               format->why.c_str());
  return format->bfloat16 ? Precision::kBfloat16 : Precision::kFloat32;
}

}  // namespace trainyard::worker

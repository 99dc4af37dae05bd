// plan: what a job will take, and whether it fits. Asks nobody: arithmetic on the job file.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/child_output.h"
#include "common/files.h"
#include "common/job_spec/json.h"
#include "common/job_spec/resolve.h"
#include "common/job_spec/yaml.h"
#include "common/machine.h"
#include "common/plan/arithmetic.h"
#include "common/plan/fit.h"
#include "common/plan/kept_paces.h"
#include "common/plan/memory.h"
#include "common/plan/number_format.h"

namespace trainyard::cli {
namespace {

using nlohmann::ordered_json;

struct JobPlan {
  plan::RankShape shape;
  plan::MemoryPlan memory;
  plan::Arithmetic arithmetic;
  plan::Fit fit;
  std::string memory_source;         // where the limit comes from
  double operations_per_second = 0;  // of a rank; 0: not known
  std::string rate_source;           // where that comes from
  plan::Rates rates;                 // tokens/s of both number formats, where they are measured
  std::string precision_why;         // of precision auto
};

// Both number formats on this machine, kept from one plan to the next; what went wrong in words.
StatusOr<plan::Rates> RatesHere(const plan::RankShape& shape) {
  const std::filesystem::path home = DefaultHome();
  RETURN_IF_ERROR(MakeFolders(home));
  const plan::Probe probe = plan::ProbeOf(shape.step, plan::Work::kTraining);
  ASSIGN_OR_RETURN(const plan::Paces paces,
                   plan::FindPaces(probe, {.file = home / "paces.json",
                                           .trainer = ProgramFolder() / "trainyard-trainer",
                                           .go_on = {}}));
  return plan::Rates{.fp32 = plan::TrainingRate(probe, paces.fp32, shape),
                     .bf16 = plan::TrainingRate(probe, paces.bf16, shape)};
}

// What a rank does here in a second: the operations of a step over the seconds of its micro-batches
// and its update.
StatusOr<double> MeasureRate(const JobSpec& spec, const JobPlan& made) {
  ordered_json config = ModelConfigJson(spec);
  config["vocab_size"] = made.shape.step.model.vocab_size;
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / fmt::format("trainyard-plan-{}.json", RandomHex(8));
  RETURN_IF_ERROR(WriteFileAtomically(file, config.dump()));
  const auto output =
      OutputOf({(ProgramFolder() / "trainyard-trainer").string(), "tool", "pace", "--config",
                file.string(), "--precision", made.shape.step.bfloat16 ? "bf16" : "fp32",
                "--recompute", spec.train.recompute, "--optim", spec.train.optim, "--rows",
                fmt::format("{}", made.shape.step.rows), "--length",
                fmt::format("{}", made.shape.step.length), "--learning",
                fmt::format("{}", plan::LearningShare(made.shape.step.masking)), "--threads",
                fmt::format("{}", made.shape.step.threads)});
  std::filesystem::remove(file);
  RETURN_IF_ERROR(output.status());
  double micro_batch = 0, update = 0;
  if (std::sscanf(output->c_str(), "%lf %lf", &micro_batch, &update) != 2 || micro_batch <= 0) {
    return Internal("the trainer's measurement reads \"{}\"", *output);
  }
  const plan::Arithmetic& a = made.arithmetic;
  const double seconds = static_cast<double>(a.micro_batches) * micro_batch + update;
  return a.operations_per_token * static_cast<double>(a.micro_batches * a.tokens_per_micro_batch) /
         seconds;
}

// A tokenizer file's vocabulary: its largest id.
StatusOr<int64_t> VocabularyOfFile(std::filesystem::path path) {
  if (std::filesystem::is_directory(path)) path /= "tokenizer.json";
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, int64_t{256} << 20));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  int64_t largest = -1;
  if (json.is_object() && json.contains("model") && json["model"].contains("vocab")) {
    const auto& vocab = json["model"]["vocab"];
    if (vocab.is_array()) largest = std::ssize(vocab) - 1;  // Unigram: pieces with their scores
    for (const auto& id : vocab) {
      if (id.is_number_integer()) largest = std::max(largest, id.get<int64_t>());
    }
  }
  if (json.is_object() && json.contains("added_tokens")) {
    for (const auto& token : json["added_tokens"]) {
      if (token.is_object()) largest = std::max(largest, token.value("id", int64_t{-1}));
    }
  }
  if (largest < 0) return InvalidArgument("{}: no vocabulary in it", path.string());
  return largest + 1;
}

// How fast the job will be, and of precision auto which number format it will be in.
Status EstimateRate(const JobSpec& spec, const PlanOptions& options, JobPlan* made) {
  const bool is_auto = spec.train.precision == "auto";
  const bool is_given = options.teraflops > 0 || options.measure;
  std::string unmeasured;
  if ((is_auto || !is_given) && spec.resources.device == "cpu") {
    const StatusOr<plan::Rates> rates = RatesHere(made->shape);
    if (rates.ok()) made->rates = *rates;
    if (!rates.ok()) unmeasured = MessageOf(rates.status());
  }
  if (is_auto) {
    const bool on_gpu = spec.resources.device != "cpu";
    const plan::NumberFormat format = plan::ChooseNumberFormat(
        made->rates, ThisMachineMultipliesBfloat16() || on_gpu, unmeasured);
    made->shape.step.bfloat16 = format.bfloat16 || on_gpu;
    made->precision_why = on_gpu ? "on a GPU" : format.why;
  }
  made->arithmetic = plan::ArithmeticOf(made->shape);
  made->operations_per_second = options.teraflops * 1e12;
  made->rate_source = "given";
  if (options.measure) {
    ASSIGN_OR_RETURN(made->operations_per_second, MeasureRate(spec, *made));
    made->rate_source = "measured here with one and two layers of this shape";
  } else if (options.teraflops == 0) {
    const double rate = made->shape.step.bfloat16 ? made->rates.bf16 : made->rates.fp32;
    made->operations_per_second = rate * made->arithmetic.operations_per_token / made->shape.ranks;
    made->rate_source = "measured here with a slice of the model";
  }
  return OkStatus();
}

StatusOr<JobPlan> Make(const PlanOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.file, 1 << 20));
  ASSIGN_OR_RETURN(ParsedJob job, ParseJobYaml(text, options.file));
  for (const std::string& assignment : options.set) RETURN_IF_ERROR(ApplySet(&job, assignment));
  StatusOr<ResolvedSpec> resolved = Resolve(job);
  if (!resolved.ok()) return job.AtPosition(resolved.status());
  const JobSpec& spec = resolved->spec;

  int64_t vocab = plan::VocabularyOf(spec);
  if (vocab == 0 && !spec.tokenizer.from.empty()) {
    ASSIGN_OR_RETURN(vocab, VocabularyOfFile(spec.tokenizer.from));
  }
  JobPlan made;
  ASSIGN_OR_RETURN(made.shape, plan::RankShapeOf(spec, vocab, spec.train.precision == "bf16"));
  RETURN_IF_ERROR(EstimateRate(spec, options, &made));
  made.shape.ranks_on_host = options.ranks_on_host > 0
                                 ? std::min(options.ranks_on_host, made.shape.ranks)
                                 : made.shape.ranks;
  made.memory = plan::PlanMemory(made.shape);
  int64_t limit = AvailableMemoryBytes();
  made.memory_source = "available on this machine";
  if (!options.memory.empty()) {
    ASSIGN_OR_RETURN(limit, plan::ParseMemory(options.memory));
    made.memory_source = "given";
  }
  made.fit = plan::FitInto(made.shape, limit, ThisMachineMultipliesBfloat16());
  return made;
}

double TokensPerSecondOf(const JobPlan& made) {
  return plan::TokensPerSecond(made.arithmetic, made.shape.ranks, made.operations_per_second);
}

ordered_json ToJson(const JobPlan& made) {
  const plan::Arithmetic& a = made.arithmetic;
  ordered_json lines = ordered_json::array(), remedies = ordered_json::array();
  for (const plan::MemoryLine& line : made.memory.lines) {
    lines.push_back(
        {{"part", plan::PartName(line.part)}, {"what", line.what}, {"bytes", line.bytes}});
  }
  for (const plan::Remedy& remedy : made.fit.remedies) {
    remedies.push_back({{"set", remedy.set}, {"cost", remedy.cost}, {"bytes", remedy.total_bytes}});
  }
  ordered_json json = {{"fits", made.fit.fits},
                       {"memory_bytes", made.fit.memory_bytes},
                       {"needed_bytes", made.fit.needed_bytes},
                       {"ranks_on_host", made.shape.ranks_on_host},
                       {"would_fit", remedies},
                       {"rank", {{"total_bytes", made.memory.total_bytes}, {"lines", lines}}},
                       {"batch",
                        {{"parameters", a.parameters},
                         {"precision", made.shape.step.bfloat16 ? "bf16" : "fp32"},
                         {"precision_chosen", made.precision_why},
                         {"ranks", made.shape.ranks},
                         {"micro_batch_size", made.shape.step.rows},
                         {"tokens_per_micro_batch", a.tokens_per_micro_batch},
                         {"micro_batches_per_step", a.micro_batches},
                         {"tokens_per_step", a.tokens_per_step},
                         {"steps", a.steps},
                         {"tokens", a.tokens},
                         {"operations_per_token", a.operations_per_token}}}};
  if (made.rates.fp32 > 0) {
    json["rates"] = {{"fp32_tokens_per_second", made.rates.fp32},
                     {"bf16_tokens_per_second", made.rates.bf16}};
  }
  if (made.operations_per_second > 0) {
    const double rate = TokensPerSecondOf(made);
    json["time"] = {{"operations_per_second_per_rank", made.operations_per_second},
                    {"rate", made.rate_source},
                    {"tokens_per_second", rate},
                    {"seconds", static_cast<double>(a.tokens) / rate}};
  }
  return json;
}

std::string MemoryTable(const JobPlan& made, bool wide) {
  Table table({"MEMORY OF RANK 0", wide ? "WHAT" : "", "SIZE"});
  std::map<plan::Part, int64_t> bytes_of_part;
  for (const plan::MemoryLine& line : made.memory.lines) {
    if (wide) {
      table.Add(
          {std::string(plan::PartName(line.part)), line.what, plan::FormatMemory(line.bytes)});
    }
    bytes_of_part[line.part] += line.bytes;
  }
  if (!wide) {
    for (const auto& [part, bytes] : bytes_of_part) {
      table.Add({std::string(plan::PartName(part)), std::string(plan::PartMeaning(part)),
                 plan::FormatMemory(bytes)});
    }
  }
  table.Add({"total", "at the peak", plan::FormatMemory(made.memory.total_bytes)});
  return table.ToString();
}

std::string BatchTable(const JobPlan& made) {
  const plan::Arithmetic& a = made.arithmetic;
  const auto count = [](int64_t n) { return FormatCount(static_cast<double>(n)); };
  Table table({"BATCH", ""});
  table.Add({"parameters", count(a.parameters)});
  table.Add({"micro-batch", fmt::format("{} rows x {} tokens = {} tokens, {}", made.shape.step.rows,
                                        made.shape.step.length, count(a.tokens_per_micro_batch),
                                        made.shape.step.bfloat16 ? "bf16" : "fp32")});
  table.Add({"step", fmt::format("{} micro-batches on each of {} ranks = {} tokens",
                                 a.micro_batches, made.shape.ranks, count(a.tokens_per_step))});
  table.Add({"job", fmt::format("{} steps = {} tokens", count(a.steps), count(a.tokens))});
  table.Add({"operations", fmt::format("{:.4g} a token, {:.4g} in all", a.operations_per_token,
                                       a.operations_per_token * static_cast<double>(a.tokens))});
  if (made.operations_per_second > 0) {
    const double rate = TokensPerSecondOf(made);
    table.Add(
        {"time", fmt::format("{} tokens/s, {} in all: {:.3g} TFLOP/s a rank, {}; ranks are taken "
                             "to cost each other nothing",
                             FormatCount(rate), FormatSeconds(static_cast<double>(a.tokens) / rate),
                             made.operations_per_second / 1e12, made.rate_source)});
  } else {
    table.Add({"time", "not estimated: add --measure, or give --teraflops"});
  }
  if (!made.precision_why.empty()) {
    table.Add(
        {"precision", fmt::format("auto is {} here, {}", made.shape.step.bfloat16 ? "bf16" : "fp32",
                                  made.precision_why)});
  }
  return table.ToString();
}

}  // namespace

int Plan(const PlanOptions& options, Format format) {
  const auto made = Make(options);
  if (!made.ok()) return Fail(made.status());
  PrintJson(
      format, ToJson(*made),
      [&] { return MemoryTable(*made, format == Format::kWide) + "\n" + BatchTable(*made); },
      [&] { return std::string(made->fit.fits ? "fits\n" : "does not fit\n"); });
  if (made->fit.fits) {
    std::fprintf(stderr, "fits: %s (%s)\n", plan::FitSentence(made->fit).c_str(),
                 made->memory_source.c_str());
    return kOk;
  }
  std::fprintf(stderr, "does not fit (%s): %s\n", made->memory_source.c_str(),
               plan::FitSentence(made->fit).c_str());
  return kJobFailed;
}

}  // namespace trainyard::cli

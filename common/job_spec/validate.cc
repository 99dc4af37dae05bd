#include "common/job_spec/validate.h"

#include <algorithm>

#include "common/job_spec/fields.h"
#include "common/job_spec/json.h"
#include "common/job_spec/presets.h"
#include "common/job_spec/reader.h"
#include "common/model/family.h"

namespace trainyard {
namespace {

class Problems {
 public:
  void Add(std::string_view field, const Status& status) {
    if (found_.size() < kMaxReportedErrors) {
      found_.push_back(WithField(Annotate(status, field), field));
    }
  }
  std::vector<Status> Take() { return std::move(found_); }

 private:
  std::vector<Status> found_;
};

void CheckEachField(const Field& group, void* target, const std::string& prefix, bool evaluates,
                    Problems* problems) {
  for (const Field& field : group.children) {
    const std::string path = prefix + field.text.name;
    const bool required = field.text.required && (!evaluates || field.text.required_to_evaluate);
    if (field.is_leaf()) {
      const Leaf leaf = field.leaf(target);
      const auto* text = std::get_if<std::string*>(&leaf);
      const auto* integer = std::get_if<int64_t*>(&leaf);
      const bool missing =
          (text != nullptr && (*text)->empty()) || (integer != nullptr && **integer == 0);
      if (missing && field.text.required) {
        if (required) problems->Add(path, InvalidArgument("must be given ({})", RuleText(field)));
      } else if (const Status rule = CheckLeaf(field, leaf); !rule.ok()) {
        problems->Add(path, rule);
      }
      continue;
    }
    const int64_t n = field.count(target);
    if (required && n == 0) problems->Add(path, InvalidArgument("must be given"));
    if (field.type == FieldType::kGroupList && static_cast<double>(n) > field.text.max) {
      problems->Add(path,
                    InvalidArgument("has {} entries, at most {} are allowed", n, field.text.max));
      continue;
    }
    for (int64_t i = 0; i < n; ++i) {
      const bool list = field.type == FieldType::kGroupList;
      CheckEachField(field, field.element(target, i),
                     list ? fmt::format("{}[{}].", path, i) : path + ".", evaluates, problems);
    }
  }
}

bool IsName(std::string_view name) {
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && alnum(name.front()) && alnum(name.back()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return alnum(c) || c == '-'; });
}

void CheckModel(const JobSpec& spec, Problems* problems) {
  const ModelSpec& model = spec.model;
  const int given = !model.preset.empty() + !model.from.empty() + !model.config.empty();
  if (given != 1) {
    problems->Add("model", InvalidArgument("give exactly one of preset, from, config; {}",
                                           given == 0 ? "none is given" : "several are given"));
    return;
  }
  if (!model.preset.empty()) {
    const auto preset = FindPreset(model.preset);
    if (!preset.ok()) problems->Add("model.preset", preset.status());
  }
  if (!model.config.empty()) {
    const auto type = model.config.find("model_type");
    if (type == model.config.end()) {
      problems->Add("model.config.model_type",
                    InvalidArgument("must be given: one of {}", FamilyNames()));
    } else if (!FindFamily(type->second).ok()) {
      problems->Add("model.config.model_type",
                    WithReason(Unimplemented("{} is not built yet; built now: {}", type->second,
                                             FamilyNames()),
                               "MODEL_NOT_BUILT"));
    }
  }
}

// The shape that preset or config give; empty when they are not known.
std::map<std::string, std::string> ShapeOf(const ModelSpec& model) {
  if (model.preset.empty()) return model.config;
  const auto preset = FindPreset(model.preset);
  return preset.ok() ? (*preset)->config : std::map<std::string, std::string>();
}

// The model sees what its objective lets it see, and no more.
void CheckObjective(const JobSpec& spec, Problems* problems) {
  const bool masked = spec.objective == "masked";
  const MaskingSpec plain;
  if (!masked && spec.masking.probability != plain.probability)
    problems->Add("masking.probability",
                  InvalidArgument("is for objective masked; this one is {}", spec.objective));
  if (!masked && spec.masking.whole_word != plain.whole_word)
    problems->Add("masking.whole_word",
                  InvalidArgument("is for objective masked; this one is {}", spec.objective));
  const auto shape = ShapeOf(spec.model);
  const auto type = shape.find("model_type");
  if (type == shape.end()) return;
  const StatusOr<const Family*> family = FindFamily(type->second);
  if (!family.ok() || (*family)->causal != masked) return;
  problems->Add("objective",
                InvalidArgument("{} is not for a model of type {}, where a token sees {}: give "
                                "objective: {}, or a model of type {}",
                                spec.objective, (*family)->model_type,
                                masked ? "only what is before it" : "what it is to predict",
                                masked ? "causal" : "masked", FamilyNames(/*causal=*/!masked)));
}

// A row must fit into the positions that the shape has.
void CheckPositions(const JobSpec& spec, Problems* problems) {
  JobSpec shaped = spec;
  shaped.model.config = ShapeOf(spec.model);
  const nlohmann::ordered_json config = ModelConfigJson(shaped);
  for (const char* key : {"max_position_embeddings", "n_positions"}) {
    if (!config.contains(key) || !config[key].is_number()) continue;
    const auto positions = config[key].get<double>();
    if (static_cast<double>(spec.train.max_length) > positions) {
      problems->Add("train.max_length",
                    InvalidArgument("{} tokens do not fit into the model's {} {}",
                                    spec.train.max_length, key, positions));
    }
  }
}

void CheckTokenizer(const JobSpec& spec, Problems* problems) {
  const bool train = spec.tokenizer.train.has_value();
  const bool from = !spec.tokenizer.from.empty();
  if (train && from) {
    problems->Add("tokenizer", InvalidArgument("give one of train, from; both are given"));
  }
  // The 256 bytes, an end of text and a mask.
  if (train && spec.tokenizer.train->type != "wordpiece" &&
      spec.tokenizer.train->vocab_size < 258) {
    problems->Add("tokenizer.train.vocab_size",
                  InvalidArgument("must be at least 258 for type {}, found {}: it holds every byte",
                                  spec.tokenizer.train->type, spec.tokenizer.train->vocab_size));
  }
  if (!train && !from && spec.model.from.empty()) {
    problems->Add("tokenizer",
                  InvalidArgument("a model with fresh weights brings none: give tokenizer.train "
                                  "(e.g. {{vocab_size: 4096}}) or tokenizer.from"));
  }
}

void CheckData(const std::vector<DataSource>& sources, const std::string& path,
               Problems* problems) {
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string source = fmt::format("{}[{}]", path, i);
    if (sources[i].path.empty() && sources[i].files.empty()) {
      problems->Add(source + ".path", InvalidArgument("must be given: a file or glob"));
    }
    if (sources[i].text_field.empty()) {
      problems->Add(source + ".text_field", InvalidArgument("must not be empty"));
    }
  }
}

// The divisors of `n` nearest to `wanted` on both sides, e.g. "8 or 16".
std::string DivisorsAround(int64_t n, int64_t wanted) {
  int64_t below = 0, above = 0;
  for (int64_t d = 1; d <= n; ++d) {
    if (n % d != 0) continue;
    if (d <= wanted) below = d;
    if (d > wanted && above == 0) above = d;
  }
  if (below == 0 || above == 0) return fmt::format("{}", std::max(below, above));
  return fmt::format("{} or {}", below, above);
}

void CheckBatch(const JobSpec& spec, Problems* problems) {
  const int64_t rows = spec.train.global_batch_size, ranks = spec.resources.ranks;
  if (rows < 1 || ranks < 1 || rows > 1'000'000) return;  // already reported
  if (rows % ranks != 0) {
    const int64_t below = rows / ranks * ranks;
    const std::string fits =
        below > 0 ? fmt::format("{} or {}", below, below + ranks) : fmt::format("{}", ranks);
    problems->Add(
        "train.global_batch_size",
        InvalidArgument("{} rows cannot be shared by {} ranks; {} would fit", rows, ranks, fits));
    return;
  }
  const int64_t micro = spec.train.micro_batch_size, rows_per_rank = rows / ranks;
  if (micro > 0 && rows_per_rank % micro != 0) {
    problems->Add("train.micro_batch_size",
                  InvalidArgument("a rank's {} rows per step cannot be cut into {}; {} would fit",
                                  rows_per_rank, micro, DivisorsAround(rows_per_rank, micro)));
  }
}

void CheckSchedule(const TrainSpec& train, Problems* problems) {
  if (train.max_steps < 1) return;  // already reported
  if (train.warmup_steps > train.max_steps) {
    problems->Add("train.warmup_steps", InvalidArgument("{} is more than train.max_steps {}",
                                                        train.warmup_steps, train.max_steps));
  }
  if (train.lr_scheduler_type == "warmup_stable_decay") {
    const int64_t left = train.max_steps - std::min(train.warmup_steps, train.max_steps);
    if (train.decay_steps > left) {
      problems->Add("train.decay_steps",
                    InvalidArgument("{} is more than the {} steps left after the warm-up",
                                    train.decay_steps, left));
    }
  } else if (train.decay_steps > 0) {
    problems->Add("train.decay_steps",
                  InvalidArgument("is for lr_scheduler_type warmup_stable_decay; this one is {}",
                                  train.lr_scheduler_type));
  }
}

// A model as it is, and texts to score.
void CheckEvaluate(const JobSpec& spec, Problems* problems) {
  if (spec.model.from.empty())
    problems->Add("model.from", InvalidArgument("must be given: fresh weights predict nothing"));
  if (spec.tokenizer.train)
    problems->Add("tokenizer.train",
                  InvalidArgument("a model is evaluated with the tokenizer it was trained with"));
  if (spec.data.validation.empty())
    problems->Add("data.validation", InvalidArgument("must be given: the texts to score"));
  if (!spec.data.train.empty())
    problems->Add("data.train", InvalidArgument("is not for kind evaluate: nothing is trained"));
  if (spec.objective == "masked")
    problems->Add("objective",
                  WithReason(Unimplemented("kind evaluate of masked models is not built yet; a job "
                                           "that trains one evaluates it"),
                             "KIND_NOT_BUILT"));
}

Status KindNotBuilt(const std::string& kind) {
  return WithReason(Unimplemented("kind {} is not built yet; built now: pretrain, evaluate", kind),
                    "KIND_NOT_BUILT");
}

}  // namespace

std::vector<Status> FindProblems(const JobSpec& spec) {
  Problems problems;
  const Field& kind = *JobSpecFields().Child("kind");
  const auto& kinds = kind.text.allowed;
  const bool known = std::find(kinds.begin(), kinds.end(), spec.kind) != kinds.end();
  const bool evaluates = spec.kind == "evaluate";
  if (known && spec.kind != "pretrain" && !evaluates) {
    problems.Add("kind", KindNotBuilt(spec.kind));  // its other fields would have other rules
    return problems.Take();
  }
  CheckEachField(JobSpecFields(), const_cast<JobSpec*>(&spec), "", evaluates, &problems);
  if (!spec.name.empty() && !IsName(spec.name)) {
    problems.Add("name", InvalidArgument("\"{}\": use lower-case letters, digits and inner hyphens",
                                         spec.name));
  }
  if (evaluates) CheckEvaluate(spec, &problems);
  CheckModel(spec, &problems);
  CheckObjective(spec, &problems);
  CheckPositions(spec, &problems);
  CheckTokenizer(spec, &problems);
  CheckData(spec.data.train, "data.train", &problems);
  CheckData(spec.data.validation, "data.validation", &problems);
  CheckBatch(spec, &problems);
  CheckSchedule(spec.train, &problems);
  return problems.Take();
}

Status Validate(const JobSpec& spec) {
  const std::vector<Status> problems = FindProblems(spec);
  if (problems.empty()) return OkStatus();
  std::string lines;
  for (const Status& problem : problems) {
    if (!lines.empty()) lines += '\n';
    lines += MessageOf(problem);
  }
  const Status& first = problems.front();
  Status all(first.code(), lines);
  if (ReasonOf(first) != absl::StatusCodeToString(first.code())) {
    all = WithReason(all, ReasonOf(first));
  }
  return WithField(all, FieldOf(first));
}

}  // namespace trainyard

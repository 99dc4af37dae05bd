#include "common/job_spec/field_builders.h"
#include "common/job_spec/fields.h"

namespace trainyard {
namespace {

using field_table::Group;
using field_table::GroupList;
using field_table::OptionalGroup;
using field_table::Value;

std::vector<Field> BlobFields() {
  return {Value<&BlobRef::name>({.name = "name", .doc = "file name, for messages"}),
          Value<&BlobRef::sha256>({.name = "sha256", .doc = "64 hex characters", .max = 64}),
          Value<&BlobRef::size_bytes>({.name = "size_bytes", .doc = "length", .min = 0})};
}

// What submit found out of files that a path names.
FieldText FilledFiles() {
  return {.name = "files",
          .doc = "filled in at submit: the files by content; not written by hand",
          .filled_at_submit = true,
          .max = 10000};
}

std::vector<Field> DataSourceFields() {
  return {
      Value<&DataSource::path>(
          {.name = "path",
           .doc =
               "a file, folder or glob on the machine that submits (docs/data.md); relative paths "
               "start where `submit` is called",
           .cost = "its files are uploaded once, by content",
           .aliases = {{"dataset_path"}, {"data_files"}}}),
      Value<&DataSource::format>({.name = "format",
                                  .doc = "how the file is read; auto goes by its ending: .jsonl, "
                                         ".ndjson, .json, else text",
                                  .cost = "none",
                                  .allowed = {"auto", "text", "jsonl"},
                                  .value_aliases = {{"txt", "text"}, {"json", "jsonl"}},
                                  .aliases = {{"ds_type"}}}),
      Value<&DataSource::text_field>({.name = "text_field",
                                      .doc = "jsonl and json: the key that holds the text",
                                      .cost = "none",
                                      .aliases = {{"dataset_text_field"}, {"text_column"}}}),
      Value<&DataSource::weight>({.name = "weight",
                                  .doc = "share of items drawn from this source, relative to the "
                                         "others",
                                  .cost = "none",
                                  .min = 0,
                                  .max = 1e6,
                                  .above = true}),
      GroupList<&DataSource::files>(FilledFiles(), BlobFields()),
  };
}

std::vector<Field> TrainFields() {
  return {
      Value<&TrainSpec::max_steps>({.name = "max_steps",
                                    .doc = "optimiser updates",
                                    .cost = "time grows with it",
                                    .required = true,
                                    .min = 1,
                                    .max = 1e9,
                                    .aliases = {{"max_iters"}, {"num_steps"}, {"train_steps"}},
                                    .required_to_evaluate = false}),
      Value<&TrainSpec::global_batch_size>(
          {.name = "global_batch_size",
           .doc = "rows per step over all ranks",
           .cost = "time of a step grows with it; the learning rate may need moving with it",
           .min = 1,
           .max = 1e6,
           .aliases = {{"train_batch_size"}, {"train_global_batch_size"}, {"total_batch_size"}}}),
      Value<&TrainSpec::micro_batch_size>(
          {.name = "micro_batch_size",
           .doc = "rows per forward of one rank; 0: chosen at submit",
           .cost = "memory of activations grows with it; larger is faster up to a point",
           .min = 0,
           .max = 1e5,
           .aliases = {{"per_device_train_batch_size"}, {"device_batch_size"}}}),
      Value<&TrainSpec::recompute>(
          {.name = "recompute",
           .doc = "what backward computes again instead of keeping it: norms and activations, or "
                  "all of a block but its input; results are the same to the bit",
           .cost = "block: a third more time, and the memory of one block instead of all",
           .allowed = {"none", "activations", "block"},
           .aliases = {{"gradient_checkpointing", {{"true", "block"}, {"false", "none"}}},
                       {"activation_checkpointing", {{"true", "block"}, {"false", "none"}}}}}),
      Value<&TrainSpec::max_length>(
          {.name = "max_length",
           .doc = "tokens of a row",
           .cost = "memory of activations grows with it, attention's time with its square",
           .min = 2,
           .max = 1 << 20,
           .aliases = {{"block_size"},
                       {"max_seq_length"},
                       {"max_seq_len"},
                       {"sequence_len"},
                       {"cutoff_len"},
                       {"seq_length"}}}),
      Value<&TrainSpec::learning_rate>(
          {.name = "learning_rate",
           .doc = "its peak",
           .cost = "too high diverges, too low learns slowly; small models take larger ones",
           .min = 0,
           .max = 10,
           .above = true,
           .aliases = {{"lr"}}}),
      Value<&TrainSpec::min_lr_ratio>({.name = "min_lr_ratio",
                                       .doc = "cosine and linear end at this share of the peak",
                                       .cost = "none",
                                       .min = 0,
                                       .max = 1,
                                       .aliases = {{"min_lr_rate"}, {"cosine_min_lr_ratio"}}}),
      Value<&TrainSpec::lr_scheduler_type>(
          {.name = "lr_scheduler_type",
           .doc = "shape of the learning rate after the warm-up",
           .cost = "none",
           .allowed = {"cosine", "linear", "constant", "warmup_stable_decay"},
           .value_aliases = {{"wsd", "warmup_stable_decay"},
                             {"constant_with_warmup", "constant"},
                             {"cosine_with_min_lr", "cosine"}},
           .aliases = {{"lr_scheduler"}, {"lr_schedule"}}}),
      Value<&TrainSpec::warmup_steps>({.name = "warmup_steps",
                                       .doc = "steps over which the learning rate rises from 0",
                                       .cost = "none",
                                       .min = 0,
                                       .max = 1e9,
                                       .aliases = {{"warmup_iters"}, {"num_warmup_steps"}}}),
      Value<&TrainSpec::decay_steps>({.name = "decay_steps",
                                      .doc = "warmup_stable_decay: length of the final decay",
                                      .cost = "none",
                                      .min = 0,
                                      .max = 1e9,
                                      .aliases = {{"num_decay_steps"}}}),
      Value<&TrainSpec::optim>({.name = "optim",
                                .doc =
                                    "the optimiser; muon: Muon for the matrices of blocks, whose "
                                    "steps are scaled so that a learning_rate and a "
                                    "weight_decay found for adamw hold, adamw for all else",
                                .cost = "both keep 8 bytes per parameter; a step of muon takes "
                                        "longer",
                                .allowed = {"adamw", "muon"},
                                .value_aliases = {{"adamw_torch", "adamw"},
                                                  {"adamw_torch_fused", "adamw"},
                                                  {"adamw_hf", "adamw"}},
                                .aliases = {{"optimizer"}}}),
      Value<&TrainSpec::adam_beta1>({.name = "adam_beta1",
                                     .doc = "decay of the first moment",
                                     .cost = "none",
                                     .min = 0,
                                     .max = 0.99999,
                                     .aliases = {{"beta1"}}}),
      Value<&TrainSpec::adam_beta2>({.name = "adam_beta2",
                                     .doc = "decay of the second moment",
                                     .cost = "none",
                                     .min = 0,
                                     .max = 0.9999999,
                                     .aliases = {{"beta2"}}}),
      Value<&TrainSpec::adam_epsilon>({.name = "adam_epsilon",
                                       .doc = "added to the root of the second moment",
                                       .cost = "none",
                                       .min = 0,
                                       .max = 1,
                                       .above = true,
                                       .aliases = {{"adam_eps"}}}),
      Value<&TrainSpec::muon_momentum>({.name = "muon_momentum",
                                        .doc = "muon: decay of the momentum, with Nesterov's look "
                                               "ahead",
                                        .cost = "none",
                                        .min = 0,
                                        .max = 0.99999}),
      Value<&TrainSpec::weight_decay>(
          {.name = "weight_decay",
           .doc = "decoupled; matrices only, norms and biases are not decayed",
           .cost = "none",
           .min = 0,
           .max = 10}),
      Value<&TrainSpec::max_grad_norm>(
          {.name = "max_grad_norm",
           .doc = "gradients are scaled down to this L2 norm; 0: never",
           .cost = "none",
           .min = 0,
           .max = 1e9,
           .aliases = {{"grad_clip"}, {"gradient_clipping"}, {"clip_grad"}}}),
      Value<&TrainSpec::precision>(
          {.name = "precision",
           .doc = "of products; auto: the faster one where the job runs, measured once and kept",
           .cost = "bf16 halves the memory of activations and rounds more; masters stay fp32",
           .allowed = {"auto", "fp32", "bf16"},
           .value_aliases = {{"float32", "fp32"}, {"bfloat16", "bf16"}},
           .aliases = {{"bf16", {{"true", "bf16"}, {"false", "fp32"}, {"auto", "auto"}}},
                       {"dtype"},
                       {"torch_dtype"},
                       {"mixed_precision", {{"no", "fp32"}}}}}),
      Value<&TrainSpec::seed>({.name = "seed",
                               .doc = "of initial weights, data order and sampling",
                               .cost = "none",
                               .min = 0,
                               .max = 9007199254740992.0,
                               .aliases = {{"random_seed"}}}),
      Value<&TrainSpec::logging_steps>({.name = "logging_steps",
                                        .doc = "a metric point every so many steps",
                                        .cost = "1 costs nothing that can be measured",
                                        .min = 1,
                                        .max = 1e6,
                                        .aliases = {{"log_interval"}}}),
  };
}

std::vector<Field> TopFields() {
  return {
      Value<&JobSpec::version>({.name = "version",
                                .doc = "of the job file's format; older ones are accepted for ever",
                                .min = 1,
                                .max = 1}),
      Value<&JobSpec::name>({.name = "name",
                             .doc = "for people; need not be unique: [a-z0-9]([-a-z0-9]*[a-z0-9])?",
                             .required = true,
                             .max = 40,
                             .aliases = {{"run_name"}}}),
      Value<&JobSpec::kind>({.name = "kind",
                             .doc = "what the job does",
                             .required = true,
                             .allowed = {"pretrain", "sft", "preference", "reward_model", "rlhf",
                                         "distill", "evaluate", "generate"},
                             .value_aliases = {{"pt", "pretrain"},
                                               {"rm", "reward_model"},
                                               {"dpo", "preference"},
                                               {"ppo", "rlhf"},
                                               {"grpo", "rlhf"}},
                             .aliases = {{"stage"}, {"trainer"}}}),
      Value<&JobSpec::objective>(
          {.name = "objective",
           .doc = "what pretrain learns: causal, the next token of the text so far; masked, hidden "
                  "tokens from all around them",
           .cost =
               "masked needs a model that sees both ways, and learns from fewer tokens of a row",
           .allowed = {"causal", "masked"},
           .value_aliases = {{"clm", "causal"}, {"mlm", "masked"}},
           .aliases = {{"mlm", {{"true", "masked"}, {"false", "causal"}}}},
           .kinds = "pretrain"}),
      Group<&JobSpec::model>(
          {.name = "model", .doc = "exactly one of preset, from, config"},
          {Value<&ModelSpec::preset>({.name = "preset",
                                      .doc = "a shape with fresh weights, by name",
                                      .cost = "memory and time grow with the model"}),
           Value<&ModelSpec::from>({.name = "from",
                                    .doc = "weights to start from, with their tokenizer: a "
                                           "Hugging Face folder, a .gguf file, or a job: JOB, "
                                           "JOB@latest, job:JOB@400",
                                    .cost = "its files are uploaded once, by content",
                                    .aliases = {{"model_name_or_path"}, {"base_model"}}}),
           Value<&ModelSpec::config>({.name = "config",
                                      .doc = "a shape with fresh weights: keys of a Hugging Face "
                                             "config.json; vocab_size comes from the tokenizer",
                                      .cost = "memory and time grow with the model",
                                      .max = 200}),
           GroupList<&ModelSpec::files>(FilledFiles(), BlobFields())}),
      Group<&JobSpec::tokenizer>(
          {.name = "tokenizer", .doc = "one of train, from; neither: the model's own"},
          {OptionalGroup<&TokenizerSpec::train>(
               {.name = "train", .doc = "a tokenizer trained on data.train"},
               {Value<&TokenizerTraining::type>(
                    {.name = "type",
                     .doc =
                         "bpe: byte-level, as GPT-2's; wordpiece: as BERT's, lower case; unigram: "
                         "as SentencePiece's",
                     .cost = "none",
                     .allowed = {"bpe", "wordpiece", "unigram"}}),
                Value<&TokenizerTraining::vocab_size>(
                    {.name = "vocab_size",
                     .doc = "tokens, special ones included",
                     .cost = "embedding and output grow with it; a small text gives as many as it "
                             "supports",
                     .min = 8,
                     .max = 1 << 20})}),
           Value<&TokenizerSpec::from>(
               {.name = "from",
                .doc = "a tokenizer.json or SentencePiece's tokenizer.model, or a folder with one, "
                       "or with a vocabulary from before them, or a job as in model.from",
                .aliases = {{"tokenizer_name_or_path"}, {"tokenizer_name"}}}),
           GroupList<&TokenizerSpec::files>(FilledFiles(), BlobFields())}),
      Group<&JobSpec::data>(
          {.name = "data", .doc = "what is read"},
          {GroupList<&DataSpec::train>({.name = "train",
                                        .doc = "sources that are trained on, mixed by weight",
                                        .required = true,
                                        .max = 1000,
                                        .aliases = {{"datasets"}, {"train_files"}},
                                        .required_to_evaluate = false},
                                       DataSourceFields()),
           GroupList<&DataSpec::validation>({.name = "validation",
                                             .doc = "sources that are only evaluated on",
                                             .max = 1000,
                                             .aliases = {{"test_datasets"}, {"eval_files"}}},
                                            DataSourceFields())}),
      Group<&JobSpec::train>({.name = "train", .doc = "how it learns", .kinds = "all that train"},
                             TrainFields()),
      Group<&JobSpec::masking>(
          {.name = "masking",
           .doc = "which tokens objective masked hides; new ones every epoch",
           .kinds = "pretrain with objective masked"},
          {Value<&MaskingSpec::probability>(
               {.name = "probability",
                .doc = "of each token, or word, to be chosen; of the chosen 80 % are hidden, 10 % "
                       "show a random token, 10 % themselves",
                .cost = "too low: little is learnt from a row; too high: little is left to learn "
                        "from",
                .min = 0,
                .max = 1,
                .above = true,
                .aliases = {{"mlm_probability"}}}),
           Value<&MaskingSpec::whole_word>({.name = "whole_word",
                                            .doc = "the tokens of a word are chosen together",
                                            .cost = "none",
                                            .aliases = {{"whole_word_mask"}}})}),
      Group<&JobSpec::resources>(
          {.name = "resources", .doc = "where it works"},
          {Value<&ResourceSpec::ranks>(
               {.name = "ranks",
                .doc = "processes that share each step; a slot each",
                .cost = "waits until as many slots are free at once",
                .min = 1,
                .max = 4096,
                .aliases = {{"nproc_per_node"}, {"num_processes"}, {"world_size"}}}),
           Value<&ResourceSpec::device>({.name = "device",
                                         .doc = "the kind of slot",
                                         .allowed = {"cpu", "cuda"},
                                         .value_aliases = {{"gpu", "cuda"}}}),
           Value<&ResourceSpec::threads_per_rank>({.name = "threads_per_rank",
                                                   .doc = "threads of a CPU rank",
                                                   .cost = "more than the host has cores slows all",
                                                   .min = 1,
                                                   .max = 1024}),
           Value<&ResourceSpec::priority>(
               {.name = "priority", .doc = "larger starts first", .min = -1000, .max = 1000})}),
      Group<&JobSpec::checkpoint>(
          {.name = "checkpoint", .doc = "what is kept", .kinds = "all that train"},
          {Value<&CheckpointSpec::save_steps>(
               {.name = "save_steps",
                .doc = "a checkpoint every so many steps; 0: only the last step",
                .cost = "each one stops training for the time of a copy; after a failure the "
                        "steps since the last are done again",
                .min = 0,
                .max = 1e9,
                .aliases = {{"checkpoint_interval"}}}),
           Value<&CheckpointSpec::save_total_limit>(
               {.name = "save_total_limit",
                .doc = "older recorded ones are deleted",
                .cost = "disk: 12 bytes per parameter each in fp32, 14 in bf16",
                .min = 1,
                .max = 1e6})}),
      Group<&JobSpec::evaluation>(
          {.name = "evaluation", .doc = "what is done with data.validation"},
          {Value<&EvaluationSpec::eval_steps>({.name = "eval_steps",
                                               .doc = "every so many steps; 0: only after the last",
                                               .cost = "training waits meanwhile",
                                               .min = 0,
                                               .max = 1e9,
                                               .aliases = {{"eval_interval"}}}),
           Value<&EvaluationSpec::max_rows>(
               {.name = "max_rows",
                .doc = "rows of the validation data used each time; 0: all",
                .cost = "time of an evaluation grows with it",
                .min = 0,
                .max = 1e9,
                .aliases = {{"max_eval_samples"}}}),
           Value<&EvaluationSpec::max_length>(
               {.name = "max_length",
                .doc = "kind evaluate: tokens read at once, as lm-evaluation-harness's max_length; "
                       "0: the model's places",
                .cost = "shorter is faster, and finds texts less likely",
                .min = 0,
                .max = 1 << 20}),
           Value<&EvaluationSpec::bos_twice>(
               {.name = "bos_twice",
                .doc = "kind evaluate: a tokenizer that adds BOS has it behind the prefix token, "
                       "as lm-evaluation-harness 0.4.13 keeps it; false: the text's own tokens "
                       "alone, as with its add_bos_token=False"})}),
      Group<&JobSpec::limits>(
          {.name = "limits", .doc = "when to give up"},
          {Value<&LimitSpec::max_attempts>(
               {.name = "max_attempts",
                .doc = "attempts without progress, for reasons that are not the user's",
                .min = 1,
                .max = 1000}),
           Value<&LimitSpec::step_timeout_seconds>(
               {.name = "step_timeout_seconds",
                .doc = "a step that takes longer counts as hung; 0: max(15 s, 6 x p99 step)",
                .min = 0,
                .max = 86400})}),
  };
}

void SetPaths(Field& field) {
  for (Field& child : field.children) {
    const std::string dot = field.path.empty() ? "" : ".";
    child.path = field.path + dot + child.text.name;
    if (child.type == FieldType::kGroupList) child.path += "[]";
    if (child.type == FieldType::kText && child.text.max > 4096) child.text.max = 4096;
    child.text.filled_at_submit |= field.text.filled_at_submit;
    SetPaths(child);
  }
}

}  // namespace

const Field& JobSpecFields() {
  static const Field root = [] {
    Field made{.path = "", .children = TopFields()};
    SetPaths(made);
    return made;
  }();
  return root;
}

}  // namespace trainyard

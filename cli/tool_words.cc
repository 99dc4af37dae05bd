// The words of commands that trainyard-trainer's tools do. The tools know the options; here they
// only pass, with help.
#include "cli/words.h"

namespace trainyard::cli {
namespace {

constexpr const char* kModelHelp =
    "a Hugging Face folder, a .gguf file, or a job: JOB, JOB@latest, JOB@STEP, job:JOB@STEP";

constexpr const char* kNoParseSpecialHelp =
    "a special token spelled out in a text is text like any other";

// A text in brackets is one value, not a list: CLI11 would take it apart.
CLI::Option* PassOn(CLI::App& command, Words& w, const std::string& name, const std::string& help) {
  return command
      .add_option_function<std::vector<std::string>>(
          name,
          [&w, name](const std::vector<std::string>& values) {
            for (const std::string& value : values)
              w.tool.options.insert(w.tool.options.end(), {name, value});
          },
          help)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void PassOnFlag(CLI::App& command, Words& w, const std::string& name, const std::string& help) {
  command.add_flag_callback(
      name, [&w, name] { w.tool.options.push_back(name); }, help);
}

void PassOnArgument(CLI::App& command, Words& w, const std::string& name, const std::string& help) {
  command
      .add_option_function<std::string>(
          name, [&w](const std::string& value) { w.tool.arguments.push_back(value); }, help)
      ->required();
}

// One or more.
void PassOnArguments(CLI::App& command, Words& w, const std::string& name,
                     const std::string& help) {
  command.add_option(name, w.tool.arguments, help)->required();
}

void PassOnSampling(CLI::App& command, Words& w) {
  PassOn(command, w, "--system", "the system's message");
  PassOn(command, w, "--max-new-tokens", "128");
  PassOn(command, w, "--temperature", "0: the likeliest token each time");
  PassOn(command, w, "--top-k", "0: off");
  PassOn(command, w, "--top-p", "1: off");
  PassOn(command, w, "--min-p", "share of the likeliest token's probability");
  PassOn(command, w, "--repetition-penalty", "1: none");
  PassOn(command, w, "--stop", "a text that ends an answer; may be repeated");
  PassOn(command, w, "--seed", "42");
  PassOn(command, w, "--precision",
         "of the weights: fp32, bf16 in half the memory, or auto: the faster one, measured here");
  PassOn(command, w, "--threads", "all of this machine's");
}

void PassOnTextSource(CLI::App& command, Words& w) {
  PassOnArguments(command, w, "files",
                  "paths, folders or globs: text, .jsonl, .json, also gzipped");
  PassOn(command, w, "--format", "auto, text or jsonl");
  PassOn(command, w, "--text-field", "of .jsonl: the field that has the text; else text");
}

void AddGenerate(CLI::App& app, Words& w, Run* run) {
  CLI::App* generate =
      Command(app, "generate", "let a model write",
              "trainyard generate --model job:shakespeare@latest --prompt \"HAMLET.\"", run,
              [&w](Format f) { return Generate(w.place, w.tool, f); });
  generate->add_option("--model", w.tool.model, kModelHelp)->required();
  PassOn(*generate, w, "--prompt", "text to go on from");
  PassOn(*generate, w, "--chat", "a message, put into the model's chat template");
  PassOn(*generate, w, "--prompts", "a file of them: lines, or .jsonl");
  PassOnFlag(*generate, w, "--no-parse-special", kNoParseSpecialHelp);
  PassOnSampling(*generate, w);
  CLI::App* chat = Command(app, "chat", "talk with a model", "trainyard chat job:assistant@latest",
                           run, [&w](Format f) { return Chat(w.place, w.tool, f); });
  chat->add_option("model", w.tool.model, kModelHelp)->required();
  PassOnSampling(*chat, w);
}

void AddModel(CLI::App& app, Words& w, Run* run) {
  CLI::App* model = Command(app, "model", "take models in and out, look at them",
                            "trainyard model import smollm2.gguf smollm2/", run, nullptr);
  model->require_subcommand(1);
  const auto add = [&](const std::string& verb, const char* help, const std::string& more) {
    CLI::App* command =
        Command(*model, verb, help, fmt::format("trainyard model {} {}", verb, more), run,
                [&w, verb](Format f) { return ModelTool(w.place, w.tool, verb, f); });
    command->add_option("model", w.tool.model, kModelHelp)->required();
    return command;
  };
  add("inspect", "family, shape, types, tokenizer, template, tensors", "job:assistant@latest");
  CLI::App* in = add("import", "any model into a Hugging Face folder", "smollm2.gguf smollm2/");
  PassOnArgument(*in, w, "destination", "folder to make");
  PassOn(*in, w, "--type", "f32, bf16 or f16; else as stored");
  CLI::App* out = add("export", "as a Hugging Face folder or a .gguf file",
                      "job:assistant@latest assistant.gguf --format gguf --type q8_0");
  PassOnArgument(*out, w, "destination", "folder or file to make");
  PassOn(*out, w, "--format", "hf or gguf")->required();
  PassOn(*out, w, "--type", "f32, f16 or bf16; gguf also q8_0, q4_0, q4_k_m");
}

void AddTokenizer(CLI::App& app, Words& w, Run* run) {
  CLI::App* tokenizer =
      Command(app, "tokenizer", "train tokenizers, text to ids and back",
              "trainyard tokenizer encode --tokenizer smollm2/ \"some text\"", run, nullptr);
  tokenizer->require_subcommand(1);
  const auto add = [&](const std::string& verb, const char* help, const std::string& more) {
    return Command(*tokenizer, verb, help, fmt::format("trainyard tokenizer {} {}", verb, more),
                   run, [&w, verb](Format f) { return TokenizerTool(w.place, w.tool, verb, f); });
  };
  CLI::App* train = add("train", "a tokenizer.json from text",
                        "plays/*.txt --type bpe --vocab-size 4096 --out tokenizer.json");
  PassOnTextSource(*train, w);
  PassOn(*train, w, "--type", "bpe: as GPT-2's; wordpiece: as BERT's; unigram; else bpe");
  PassOn(*train, w, "--vocab-size", "special tokens included; else 4096");
  PassOnFlag(*train, w, "--with-mask",
             "also <mask>, for jobs with objective: masked; wordpiece has [MASK] anyway");
  PassOn(*train, w, "--out", "file to make")->required();
  CLI::App* encode = add("encode", "text to ids", "--tokenizer smollm2/ \"some text\"");
  CLI::App* decode = add("decode", "ids to text", "--tokenizer smollm2/ 9906 1917");
  for (CLI::App* command : {encode, decode})
    command
        ->add_option("--tokenizer", w.tool.model,
                     std::string("a tokenizer.json, or a model: ") + kModelHelp)
        ->required();
  PassOnArgument(*encode, w, "text", "one text; after -- it may begin with a dash");
  PassOnFlag(*encode, w, "--no-parse-special", kNoParseSpecialHelp);
  PassOnArguments(*decode, w, "ids", "numbers");
}

void AddData(CLI::App& app, Words& w, Run* run) {
  const std::string example = "trainyard data check data/*.jsonl --text-field body";
  CLI::App* data = Command(app, "data", "look at training data", example, run, nullptr);
  data->require_subcommand(1);
  CLI::App* check = Command(*data, "check", "read files as training would, count what is in them",
                            example, run, [&w](Format f) { return DataCheck(w.tool, f); });
  PassOnTextSource(*check, w);
  PassOn(*check, w, "--type", "of the largest vocabulary: bpe, wordpiece or unigram; else bpe");
}

}  // namespace

CLI::App* Command(CLI::App& parent, const std::string& name, const std::string& help,
                  const std::string& example, Run* run, Run action) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->footer("Example: " + example);
  if (action) command->callback([run, action] { *run = action; });
  return command;
}

void AddToolCommands(CLI::App& app, Words& words, Run* run) {
  AddGenerate(app, words, run);
  AddModel(app, words, run);
  AddTokenizer(app, words, run);
  AddData(app, words, run);
}

}  // namespace trainyard::cli

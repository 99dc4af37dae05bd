#include "common/job_spec/describe.h"

#include <algorithm>

#include "common/job_spec/fields.h"
#include "common/job_spec/presets.h"

namespace trainyard {
namespace {

constexpr char kIntroduction[] = R"(# The job file

A job is one YAML file (`trainyard submit job.yaml`); JSON and gRPC carry the same fields. This page
is printed from the field table in common/job_spec/field_table.cc; a test compares the two.

* An unknown key is an error that names line, column and the nearest field. So is a key given twice.
* Names of peers (Hugging Face TrainingArguments, TRL, LLaMA-Factory, Axolotl, nanoGPT) are accepted
  with a note, in their place here or at the top level of the file.
* `--set train.max_steps=10` changes one field of the file; `--set 'data.train[0].path=a.txt'` one of
  a list.
* What is not given has its default. The stored spec has every default written out, with where each
  value came from; `trainyard describe JOB` shows it.
* At most 1 MiB, 24 levels. `version: 1` is accepted for ever.

An example is [examples/jobs/shakespeare.yaml](../examples/jobs/shakespeare.yaml).
)";

// A bar would end the cell.
std::string Cell(std::string text) {
  std::string cell;
  for (const char c : text) cell += c == '|' ? std::string("\\|") : std::string(1, c);
  return cell;
}

std::string DefaultCell(const Field& field) {
  if (field.text.required && !field.text.required_to_evaluate) return "required to train";
  if (field.text.required) return "required";
  if (field.text.filled_at_submit) return "";
  const std::string text = DefaultText(field);
  return text.empty() ? "" : fmt::format("`{}`", text);
}

std::string PeersCell(const Field& field) {
  std::vector<std::string> names;
  for (const FieldAlias& alias : field.text.aliases) names.push_back("`" + alias.name + "`");
  for (const auto& [theirs, ours] : field.text.value_aliases) {
    names.push_back(fmt::format("`{}` = `{}`", theirs, ours));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

void AppendRows(const Field& group, std::string* out) {
  for (const Field& field : group.children) {
    if (field.text.filled_at_submit) continue;
    if (field.is_leaf()) {
      *out += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", field.path, Cell(RuleText(field)),
                          Cell(DefaultCell(field)), Cell(field.text.doc), Cell(field.text.cost),
                          Cell(PeersCell(field)));
    } else {
      *out += fmt::format("| **`{}`** | {} | {} | {} | {} | {} |\n", field.path, RuleText(field),
                          DefaultCell(field), Cell(field.text.doc), Cell(field.text.cost),
                          Cell(PeersCell(field)));
      AppendRows(field, out);
    }
  }
}

struct Row {
  std::string path, value, origin;
};

// One line for all the files of a source.
void AddFiles(const std::string& path, const std::vector<BlobRef>& files, std::vector<Row>* rows) {
  if (files.empty()) return;
  int64_t bytes = 0;
  for (const BlobRef& file : files) bytes += file.size_bytes;
  rows->push_back({path, fmt::format("{} files, {} bytes", files.size(), bytes), "submit"});
}

void AddFiles(const char* list, const std::vector<DataSource>& sources, std::vector<Row>* rows) {
  for (size_t i = 0; i < sources.size(); ++i)
    AddFiles(fmt::format("{}[{}].files", list, i), sources[i].files, rows);
}

constexpr char kTableHead[] =
    "| field | type and range | default | what it is | what moving it costs | also called |\n"
    "|---|---|---|---|---|---|\n";

}  // namespace

std::string FormatResolved(const ResolvedSpec& resolved) {
  std::vector<Row> rows;
  VisitLeaves(resolved.spec,
              [&](const std::string& path, const Field& field, const std::string& text) {
                if (field.text.filled_at_submit) return;
                const auto origin = resolved.origins.find(path);
                rows.push_back({path, text.empty() ? "-" : text,
                                origin == resolved.origins.end() ? "-" : origin->second});
              });
  AddFiles("model.files", resolved.spec.model.files, &rows);
  AddFiles("tokenizer.files", resolved.spec.tokenizer.files, &rows);
  AddFiles("data.train", resolved.spec.data.train, &rows);
  AddFiles("data.validation", resolved.spec.data.validation, &rows);
  size_t path_width = 0, value_width = 0;
  for (const Row& row : rows) {
    path_width = std::max(path_width, row.path.size());
    value_width = std::max(value_width, std::min<size_t>(row.value.size(), 40));
  }
  std::string out;
  for (const Row& row : rows) {
    out += fmt::format("{:<{}}  {:<{}}  {}\n", row.path, path_width, row.value, value_width,
                       row.origin);
  }
  return out;
}

std::string FieldTableMarkdown() {
  std::string out = kIntroduction;
  out += "\n## Top level\n\n";
  out += kTableHead;
  for (const Field& field : JobSpecFields().children) {
    if (field.is_leaf()) {
      Field alone;
      alone.children = {field};
      AppendRows(alone, &out);
    }
  }
  for (const Field& field : JobSpecFields().children) {
    if (field.is_leaf()) continue;
    out += fmt::format("\n## {}\n\n{}. Used by: {}.\n\n{}", field.text.name, field.text.doc,
                       field.text.kinds, kTableHead);
    AppendRows(field, &out);
  }
  out +=
      "\n## Model presets\n\nThe vocabulary comes from the tokenizer.\n\n| preset | shape |\n"
      "|---|---|\n";
  for (const Preset& preset : ModelPresets()) {
    out += fmt::format("| `{}` | {} |\n", preset.name, preset.doc);
  }
  out += "\n## Peers' keys that are not fields here\n\n| key | instead |\n|---|---|\n";
  for (const auto& [key, hint] : PeerKeysWithoutField()) {
    out += fmt::format("| `{}` | {} |\n", key, Cell(hint));
  }
  return out;
}

}  // namespace trainyard

#include "common/job_spec/reader.h"

#include <algorithm>
#include <set>

#include "common/job_spec/fields.h"
#include "common/job_spec/leaf_reader.h"

namespace trainyard {
namespace {

using Kind = InputNode::Kind;

std::string KindName(const InputNode& node) {
  switch (node.kind) {
    case Kind::kNothing:
      return "nothing";
    case Kind::kScalar:
      return "a single value";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  return "";
}

// The field that a peer calls `name`, at `prefix` or anywhere when `prefix` is empty.
struct AliasMatch {
  const Field* field = nullptr;
  const FieldAlias* alias = nullptr;
};

AliasMatch FindAlias(const Field& group, std::string_view name, bool recurse) {
  for (const Field& field : group.children) {
    for (const FieldAlias& alias : field.text.aliases) {
      if (alias.name == name) return {&field, &alias};
    }
    if (!recurse || field.type != FieldType::kGroup) continue;
    if (const AliasMatch inner = FindAlias(field, name, true); inner.field) return inner;
    // A flat file in the way of TrainingArguments: our own name, one level too high.
    if (const Field* own = field.Child(name); own != nullptr && own->is_leaf())
      return {own, nullptr};
  }
  return {};
}

// The path of the field called `name` in some other group; empty when there is none.
std::string ElsewherePath(const Field& group, std::string_view name) {
  for (const Field& field : group.children) {
    if (field.text.name == name && !group.path.empty()) return field.path;
    if (std::string path = ElsewherePath(field, name); !path.empty()) return path;
  }
  return "";
}

std::vector<std::string> ChildNames(const Field& group) {
  std::vector<std::string> names;
  for (const Field& child : group.children) names.push_back(child.text.name);
  return names;
}

// Why `key` is not a field of `group`, and what was probably meant.
std::string UnknownFieldText(const Field& group, std::string_view key) {
  const auto& hints = PeerKeysWithoutField();
  if (const auto hint = hints.find(key); hint != hints.end()) {
    return fmt::format("not a field here: {}", hint->second);
  }
  if (const std::string near = NearestName(key, ChildNames(group)); !near.empty()) {
    return fmt::format("unknown field; did you mean {}?", near);
  }
  if (const std::string path = ElsewherePath(JobSpecFields(), key); !path.empty()) {
    return fmt::format("unknown field here; did you mean {}?", path);
  }
  return fmt::format("unknown field; known here: {}", fmt::join(ChildNames(group), ", "));
}

class Reader {
 public:
  Reader(const ReadOptions& options, ParsedJob* job) : options_(options), job_(*job) {}

  void ReadRoot(const InputNode& root) {
    if (root.kind != Kind::kMap) {
      Error(root.at, "",
            InvalidArgument("a job is a map of fields (name, kind, model, ...), found {}",
                            KindName(root)));
      return;
    }
    if (CheckVersion(root)) ReadGroup(JobSpecFields(), &job_.spec, root, "");
  }

  Status Finish() {
    if (errors_ == 0) return OkStatus();
    if (errors_ > kMaxReportedErrors) {
      report_ += fmt::format("\nand {} more", errors_ - kMaxReportedErrors);
    }
    return WithField(InvalidArgument("{}", report_), first_field_);
  }

 private:
  void Error(Position at, const std::string& path, const Status& status) {
    if (++errors_ > kMaxReportedErrors) return;
    if (errors_ == 1) first_field_ = path;
    if (!report_.empty()) report_ += '\n';
    if (!options_.file_name.empty()) {
      report_ += fmt::format("{}:{}:{}: ", options_.file_name, at.line, at.column);
    }
    if (!path.empty()) report_ += path + ": ";
    report_ += MessageOf(status);
  }

  // Only errors of the version are reported when it is not ours: everything else would follow from
  // it. Older versions will be rewritten to the newest form here, one step at a time.
  bool CheckVersion(const InputNode& root) {
    for (const auto& entry : root.entries) {
      if (entry.key != "version") continue;
      int64_t version = 0;
      const Field& field = *JobSpecFields().Child("version");
      Status status = entry.value->kind == Kind::kScalar
                          ? ReadScalar(field, nullptr, *entry.value, options_.interchange, &version)
                          : InvalidArgument("wants an integer, found {}", KindName(*entry.value));
      if (version > kJobSpecVersion) {
        status = InvalidArgument(
            "this build reads job files up to version {}, found version {}; use a newer Trainyard",
            kJobSpecVersion, version);
      }
      if (status.ok()) continue;
      Error(entry.value->at, "version", status);
      return false;
    }
    return true;
  }

  void ReadGroup(const Field& group, void* target, const InputNode& node,
                 const std::string& prefix) {
    std::map<std::string, Position> seen;
    for (const auto& entry : node.entries) {
      const std::string path = prefix + entry.key;
      if (const auto [first, fresh] = seen.emplace(entry.key, entry.at); !fresh) {
        Error(entry.at, path, InvalidArgument("given twice{}", FirstGiven(first->second)));
        continue;
      }
      if (const Field* field = group.Child(entry.key); field != nullptr) {
        ReadField(*field, nullptr, target, *entry.value, entry.at, path);
        continue;
      }
      const AliasMatch match =
          options_.interchange ? AliasMatch{} : FindAlias(group, entry.key, prefix.empty());
      if (match.field == nullptr) {
        Error(entry.at, path, InvalidArgument("{}", UnknownFieldText(group, entry.key)));
        continue;
      }
      ReadAliased(match, group, target, entry, prefix);
    }
  }

  std::string FirstGiven(Position at) const {
    return options_.file_name.empty() ? "" : fmt::format(" (first in line {})", at.line);
  }

  void ReadAliased(const AliasMatch& match, const Field& group, void* target,
                   const InputNode::Entry& entry, const std::string& prefix) {
    std::string path = prefix + match.field->text.name;
    if (group.Child(match.field->text.name) != match.field) {
      // Only from the top level, into plain groups.
      path = match.field->path;
      if (path.ends_with("[]")) path.resize(path.size() - 2);
      const std::string above = path.substr(0, path.find('.'));
      const Field* home = JobSpecFields().Child(above);
      if (home->Child(match.field->text.name) != match.field) {
        Error(entry.at, entry.key, InvalidArgument("unknown field here; did you mean {}?", path));
        return;
      }
      target = home->element(target, 0);
    }
    job_.notes.push_back(fmt::format("{} is read as {}", prefix + entry.key, path));
    ReadField(*match.field, match.alias, target, *entry.value, entry.at, path);
  }

  void ReadField(const Field& field, const FieldAlias* alias, void* target, const InputNode& node,
                 Position at, const std::string& path) {
    if (const auto [first, fresh] = job_.positions.emplace(path, at); !fresh) {
      Error(at, path, InvalidArgument("given twice{}", FirstGiven(first->second)));
      return;
    }
    switch (field.type) {
      case FieldType::kInteger:
      case FieldType::kNumber:
      case FieldType::kFlag:
      case FieldType::kText:
        if (node.kind != Kind::kScalar) {
          Error(node.at, path,
                InvalidArgument("wants {}, found {}", RuleText(field), KindName(node)));
          return;
        }
        if (const Status read =
                ReadScalar(field, alias, node, options_.interchange, field.leaf(target));
            !read.ok()) {
          Error(node.at, path, read);
          return;
        }
        job_.origins[path] = options_.origin;
        return;
      case FieldType::kTextMap:
        ReadMap(field, target, node, path);
        return;
      case FieldType::kGroup:
      case FieldType::kOptionalGroup:
        ReadInnerGroup(field, target, node, path);
        return;
      case FieldType::kGroupList:
        ReadList(field, target, node, path);
        return;
    }
  }

  void ReadInnerGroup(const Field& field, void* target, const InputNode& node,
                      const std::string& path) {
    // `evaluation:` with every line below it commented out is an empty group.
    if (node.kind == Kind::kNothing && field.type == FieldType::kGroup) return;
    if (node.kind != Kind::kMap) {
      Error(node.at, path,
            InvalidArgument("wants a map of {}, found {}", fmt::join(ChildNames(field), ", "),
                            KindName(node)));
      return;
    }
    field.resize(target, 1);
    ReadGroup(field, field.element(target, 0), node, path + ".");
  }

  void ReadList(const Field& field, void* target, const InputNode& node, const std::string& path) {
    if (node.kind != Kind::kList) {
      Error(node.at, path,
            InvalidArgument("wants a list of maps with {}, found {}",
                            fmt::join(ChildNames(field), ", "), KindName(node)));
      return;
    }
    const auto n = static_cast<int64_t>(node.items.size());
    if (static_cast<double>(n) > field.text.max) {
      Error(node.at, path,
            InvalidArgument("has {} entries, at most {} are allowed", n, field.text.max));
      return;
    }
    field.resize(target, n);
    for (int64_t i = 0; i < n; ++i) {
      const InputNode& item = *node.items[static_cast<size_t>(i)];
      const std::string item_path = fmt::format("{}[{}]", path, i);
      if (item.kind != Kind::kMap) {
        Error(item.at, item_path,
              InvalidArgument("wants a map with {}, found {}", fmt::join(ChildNames(field), ", "),
                              KindName(item)));
        continue;
      }
      job_.positions.emplace(item_path, item.at);
      ReadGroup(field, field.element(target, i), item, item_path + ".");
    }
  }

  void ReadMap(const Field& field, void* target, const InputNode& node, const std::string& path) {
    if (node.kind != Kind::kMap) {
      Error(node.at, path,
            InvalidArgument("wants a map of names to values, found {}", KindName(node)));
      return;
    }
    auto& map = *std::get<std::map<std::string, std::string>*>(field.leaf(target));
    std::set<std::string> seen;
    for (const auto& entry : node.entries) {
      const std::string entry_path = path + "." + entry.key;
      if (!seen.insert(entry.key).second) {
        Error(entry.at, entry_path, InvalidArgument("given twice"));
        continue;
      }
      const StatusOr<std::string> text = ConfigText(*entry.value, options_.interchange);
      if (!text.ok()) {
        Error(entry.at, entry_path, text.status());
        continue;
      }
      map[entry.key] = *text;
      job_.origins[entry_path] = options_.origin;
      job_.positions.emplace(entry_path, entry.at);
    }
    if (options_.interchange) return;
    if (const Status rule = CheckLeaf(field, field.leaf(target)); !rule.ok()) {
      Error(node.at, path, rule);
    }
  }

  const ReadOptions& options_;
  ParsedJob& job_;
  int errors_ = 0;
  std::string report_;
  std::string first_field_;
};

}  // namespace

Status ParsedJob::AtPosition(const Status& status) const {
  if (status.ok() || file_name.empty()) return status;
  Position at{1, 1};
  for (std::string path = FieldOf(status); !path.empty();) {
    if (const auto found = positions.find(path); found != positions.end()) {
      at = found->second;
      break;
    }
    const size_t cut = path.find_last_of(".[");
    path.resize(cut == std::string::npos ? 0 : cut);
  }
  return Annotate(status, fmt::format("{}:{}:{}", file_name, at.line, at.column));
}

StatusOr<ParsedJob> ReadJob(const InputNode& root, const ReadOptions& options) {
  ParsedJob job;
  job.file_name = options.file_name;
  Reader reader(options, &job);
  reader.ReadRoot(root);
  RETURN_IF_ERROR(reader.Finish());
  return job;
}

}  // namespace trainyard

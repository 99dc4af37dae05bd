// `--set a.b=c`: one value over what the job file gave.
#include "common/files.h"
#include "common/job_spec/fields.h"
#include "common/job_spec/leaf_reader.h"
#include "common/job_spec/reader.h"

namespace trainyard {
namespace {

// One part of a path: "train", or "train[2]".
struct Part {
  std::string name;
  int64_t index = -1;
};

StatusOr<Part> ParsePart(std::string_view text) {
  Part part;
  const size_t open = text.find('[');
  part.name = std::string(text.substr(0, open));
  if (open == std::string_view::npos) return part;
  const std::string_view digits = text.substr(open + 1, text.size() - open - 2);
  if (!text.ends_with(']') || digits.empty() || digits.size() > 6 ||
      digits.find_first_not_of("0123456789") != std::string_view::npos) {
    return InvalidArgument("\"{}\": an entry of a list is written {}[0]", text, part.name);
  }
  part.index = std::stoll(std::string(digits));
  return part;
}

Status UnknownPath(std::string_view path) {
  const auto& hints = PeerKeysWithoutField();
  if (const auto hint = hints.find(path.substr(path.rfind('.') + 1)); hint != hints.end())
    return InvalidArgument("not a field here: {}", hint->second);
  std::vector<std::string> paths;
  for (const Field* leaf : AllLeaves()) paths.push_back(leaf->path);
  const std::string near = NearestName(path, paths);
  return InvalidArgument("unknown field{}",
                         near.empty() ? "" : fmt::format("; did you mean {}?", near));
}

// The field of `group` called `name`, by us or by a peer.
const Field* FindChild(const Field& group, std::string_view name, const FieldAlias** alias) {
  *alias = nullptr;
  if (const Field* own = group.Child(name)) return own;
  for (const Field& field : group.children) {
    for (const FieldAlias& candidate : field.text.aliases) {
      if (candidate.name != name) continue;
      *alias = &candidate;
      return &field;
    }
  }
  return nullptr;
}

// Sets one value below `group`; on success `found` is the path it has in our names.
Status SetBelow(const Field& group, void* target, std::string_view path, const InputNode& value,
                std::string* found) {
  const size_t dot = path.find('.');
  const std::string_view rest = dot == std::string_view::npos ? "" : path.substr(dot + 1);
  ASSIGN_OR_RETURN(const Part part, ParsePart(path.substr(0, dot)));
  const FieldAlias* alias = nullptr;
  const Field* field = FindChild(group, part.name, &alias);
  if (field == nullptr) return UnknownPath(*found + std::string(path));
  *found += field->text.name;
  if ((part.index >= 0) != (field->type == FieldType::kGroupList)) {
    return part.index >= 0 ? InvalidArgument("is not a list")
                           : InvalidArgument("is a list: name an entry, as in {}[0]", *found);
  }
  if (field->type == FieldType::kTextMap) {
    if (rest.empty()) return InvalidArgument("is a map: name an entry, as in {}.KEY=VALUE", *found);
    ASSIGN_OR_RETURN(const std::string text, ConfigText(value, /*interchange=*/false));
    (*std::get<std::map<std::string, std::string>*>(field->leaf(target)))[std::string(rest)] = text;
    *found += "." + std::string(rest);
    return CheckLeaf(*field, field->leaf(target));
  }
  if (field->is_leaf()) {
    if (!rest.empty()) return UnknownPath(*found + "." + std::string(rest));
    return ReadScalar(*field, alias, value, /*interchange=*/false, field->leaf(target));
  }
  if (rest.empty()) {
    return InvalidArgument("is a group: name a field in it, as in {}.{}", *found,
                           field->children.front().text.name);
  }
  int64_t i = 0;
  if (part.index >= 0) {
    i = part.index;
    const int64_t n = field->count(target);
    if (i > n || static_cast<double>(i) >= field->text.max) {
      return InvalidArgument("has {} entries: there is no [{}]", n, i);
    }
    if (i == n) field->resize(target, n + 1);
    *found += fmt::format("[{}]", i);
  } else {
    field->resize(target, 1);
  }
  *found += ".";
  return SetBelow(*field, field->element(target, i), rest, value, found);
}

}  // namespace

Status ApplySet(ParsedJob* job, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return InvalidArgument("--set {}: write it as field=value, e.g. train.max_steps=10",
                           assignment);
  }
  if (FindInvalidUtf8(assignment) != std::string_view::npos) {
    return InvalidArgument("--set: not valid UTF-8");
  }
  const std::string_view path = assignment.substr(0, equals);
  InputNode value{.kind = InputNode::Kind::kScalar,
                  .at = {},
                  .scalar = std::string(assignment.substr(equals + 1)),
                  .items = {},
                  .entries = {}};
  JobSpec changed = job->spec;
  std::string found;
  if (const Status set = SetBelow(JobSpecFields(), &changed, path, value, &found); !set.ok()) {
    return WithField(Annotate(set, fmt::format("--set {}", path)), path);
  }
  if (changed.version != kJobSpecVersion) {
    return WithField(
        InvalidArgument("--set version: this build writes version {}", kJobSpecVersion), "version");
  }
  job->spec = std::move(changed);
  job->origins[found] = "--set";
  if (found != path) job->notes.push_back(fmt::format("--set {} is read as {}", path, found));
  return OkStatus();
}

}  // namespace trainyard

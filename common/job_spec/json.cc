#include "common/job_spec/json.h"

#include "common/job_spec/fields.h"

namespace trainyard {
namespace {

using nlohmann::ordered_json;
using Kind = InputNode::Kind;

// `given` (may be null: everything) decides which leaves are written; what a client fills in at
// submit is given by being there.
ordered_json GroupToJson(const Field& group, void* target, const std::string& prefix,
                         const std::map<std::string, std::string>* given) {
  ordered_json json = ordered_json::object();
  for (const Field& field : group.children) {
    const std::string& name = field.text.name;
    const std::string path = prefix + name;
    if (field.type == FieldType::kTextMap) {
      const auto& map = *std::get<std::map<std::string, std::string>*>(field.leaf(target));
      if (given == nullptr || !map.empty()) json[name] = map;
    } else if (field.is_leaf()) {
      if (given != nullptr && !given->contains(path)) continue;
      std::visit([&](auto* value) { json[name] = *value; }, field.leaf(target));
    } else if (field.type == FieldType::kGroupList) {
      ordered_json list = ordered_json::array();
      for (int64_t i = 0; i < field.count(target); ++i) {
        list.push_back(GroupToJson(field, field.element(target, i), fmt::format("{}[{}].", path, i),
                                   field.text.filled_at_submit ? nullptr : given));
      }
      if (given == nullptr || !list.empty()) json[name] = std::move(list);
    } else if (field.count(target) == 1) {
      ordered_json inner = GroupToJson(field, field.element(target, 0), path + ".", given);
      const bool optional = field.type == FieldType::kOptionalGroup;
      if (given == nullptr || optional || !inner.empty()) json[name] = std::move(inner);
    }
  }
  return json;
}

StatusOr<std::shared_ptr<const InputNode>> ToInput(const ordered_json& json, int depth,
                                                   int64_t* nodes) {
  if (depth > kMaxInputDepth) {
    return InvalidArgument("nested deeper than {} levels", kMaxInputDepth);
  }
  if (++*nodes > kMaxInputNodes) return InvalidArgument("more than {} values", kMaxInputNodes);
  auto node = std::make_shared<InputNode>();
  if (json.is_object()) {
    node->kind = Kind::kMap;
    for (const auto& [key, value] : json.items()) {
      ASSIGN_OR_RETURN(auto inner, ToInput(value, depth + 1, nodes));
      node->entries.push_back({key, {}, std::move(inner)});
    }
  } else if (json.is_array()) {
    node->kind = Kind::kList;
    for (const auto& item : json) {
      ASSIGN_OR_RETURN(auto inner, ToInput(item, depth + 1, nodes));
      node->items.push_back(std::move(inner));
    }
  } else if (json.is_string()) {
    node->kind = Kind::kScalar;
    node->scalar = json.get<std::string>();
    node->quoted = true;
  } else if (json.is_number() || json.is_boolean()) {
    node->kind = Kind::kScalar;
    node->scalar = json.dump();
  } else if (!json.is_null()) {
    return InvalidArgument("a job holds no bytes");
  }
  return std::shared_ptr<const InputNode>(std::move(node));
}

}  // namespace

ordered_json JobSpecToJson(const JobSpec& spec) {
  return GroupToJson(JobSpecFields(), const_cast<JobSpec*>(&spec), "", nullptr);
}

ordered_json GivenToJson(const ParsedJob& job) {
  return GroupToJson(JobSpecFields(), const_cast<JobSpec*>(&job.spec), "", &job.origins);
}

StatusOr<ParsedJob> ParseJobJson(const ordered_json& json) {
  int64_t nodes = 0;
  ASSIGN_OR_RETURN(const auto root, ToInput(json, 0, &nodes));
  return ReadJob(*root, {.file_name = "", .interchange = true});
}

StatusOr<JobSpec> JobSpecFromJson(const ordered_json& json) {
  ASSIGN_OR_RETURN(ParsedJob job, ParseJobJson(json));
  return std::move(job.spec);
}

ordered_json ModelConfigJson(const JobSpec& spec) {
  ordered_json config = ordered_json::object();
  for (const auto& [key, text] : spec.model.config) {
    ordered_json value = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
    config[key] = value.is_primitive() && !value.is_discarded() ? value : ordered_json(text);
  }
  return config;
}

}  // namespace trainyard

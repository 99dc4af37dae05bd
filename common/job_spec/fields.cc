#include "common/job_spec/fields.h"

#include <algorithm>

#include "common/files.h"

namespace trainyard {
namespace {

std::string Plain(double value) { return fmt::format("{}", value); }

// "at least 1", "above 0 and at most 10", "".
std::string BoundsText(const FieldText& text) {
  const bool low = text.min > -std::numeric_limits<double>::infinity();
  const bool high = text.max < std::numeric_limits<double>::infinity();
  std::string said;
  if (low) said = fmt::format("{} {}", text.above ? "above" : "at least", Plain(text.min));
  if (high) said += fmt::format("{}at most {}", low ? " and " : "", Plain(text.max));
  return said;
}

Status CheckNumber(const FieldText& text, double value, const std::string& found) {
  const bool fits = value <= text.max && (text.above ? value > text.min : value >= text.min);
  if (fits) return OkStatus();  // NaN never fits
  return InvalidArgument("must be {}, found {}", BoundsText(text), found);
}

Status CheckText(const FieldText& text, const std::string& value) {
  if (static_cast<double>(value.size()) > text.max) {
    return InvalidArgument("has {} bytes, at most {} are allowed", value.size(), Plain(text.max));
  }
  if (const size_t bad = FindInvalidUtf8(value); bad != std::string_view::npos) {
    return InvalidArgument("is not valid UTF-8 at byte {}", bad);
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const auto byte = static_cast<unsigned char>(value[i]);
    if (byte < 0x20 || byte == 0x7f) {
      return InvalidArgument("holds the control character 0x{:02x} at byte {}", byte, i);
    }
  }
  if (text.allowed.empty() || value.empty()) return OkStatus();
  if (std::find(text.allowed.begin(), text.allowed.end(), value) != text.allowed.end()) {
    return OkStatus();
  }
  const std::string near = NearestName(value, text.allowed);
  return InvalidArgument("\"{}\" is not one of {}{}", value, fmt::join(text.allowed, " | "),
                         near.empty() ? "" : fmt::format("; did you mean {}?", near));
}

Status CheckMap(const FieldText& text, const std::map<std::string, std::string>& map) {
  if (static_cast<double>(map.size()) > text.max) {
    return InvalidArgument("has {} entries, at most {} are allowed", map.size(), Plain(text.max));
  }
  for (const auto& [key, value] : map) {
    const FieldText plain{.name = "", .doc = "", .cost = "", .max = 4096};
    if (key.empty()) return InvalidArgument("has an empty key");
    RETURN_IF_ERROR(Annotate(CheckText(plain, key), "a key"));
    RETURN_IF_ERROR(Annotate(CheckText(plain, value), fmt::format("the value of {}", key)));
  }
  return OkStatus();
}

void VisitGroup(
    const Field& group, void* target, const std::string& prefix,
    const std::function<void(const std::string&, const Field&, const std::string&)>& visit) {
  for (const Field& field : group.children) {
    const std::string path = prefix + field.text.name;
    if (field.is_leaf()) {
      const Leaf leaf = field.leaf(target);
      if (const auto* map = std::get_if<std::map<std::string, std::string>*>(&leaf)) {
        for (const auto& [key, value] : **map) visit(path + "." + key, field, value);
      } else {
        visit(path, field, LeafText(leaf));
      }
      continue;
    }
    for (int64_t i = 0; i < field.count(target); ++i) {
      const bool list = field.type == FieldType::kGroupList;
      const std::string inner = list ? fmt::format("{}[{}].", path, i) : path + ".";
      VisitGroup(field, field.element(target, i), inner, visit);
    }
  }
}

void CollectLeaves(const Field& group, std::vector<const Field*>* leaves) {
  for (const Field& field : group.children) {
    if (field.is_leaf()) leaves->push_back(&field);
    CollectLeaves(field, leaves);
  }
}

// Optimal string alignment: insertions, deletions, replacements, swaps of neighbours.
int64_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<int64_t>> d(a.size() + 1, std::vector<int64_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = static_cast<int64_t>(i);
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = static_cast<int64_t>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const int64_t replace = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

const Field* Field::Child(std::string_view name) const {
  for (const Field& child : children) {
    if (child.text.name == name) return &child;
  }
  return nullptr;
}

std::string LeafText(const Leaf& leaf) {
  if (const auto* integer = std::get_if<int64_t*>(&leaf)) return fmt::format("{}", **integer);
  if (const auto* number = std::get_if<double*>(&leaf)) return Plain(**number);
  if (const auto* flag = std::get_if<bool*>(&leaf)) return **flag ? "true" : "false";
  if (const auto* text = std::get_if<std::string*>(&leaf)) return **text;
  return "";
}

std::string DefaultText(const Field& field) {
  // With one of everything that a default spec has none of.
  static const JobSpec filled = [] {
    JobSpec made;
    made.tokenizer.train.emplace();
    made.data.train.resize(1);
    made.data.validation.resize(1);
    return made;
  }();
  std::string found;
  VisitLeaves(filled, [&](const std::string&, const Field& visited, const std::string& text) {
    if (visited.path == field.path) found = text;
  });
  return found;
}

std::string RuleText(const Field& field) {
  const FieldText& text = field.text;
  if (!text.allowed.empty()) return fmt::format("{}", fmt::join(text.allowed, " | "));
  switch (field.type) {
    case FieldType::kInteger:
    case FieldType::kNumber: {
      const std::string bounds = BoundsText(text);
      const char* type = field.type == FieldType::kInteger ? "integer" : "number";
      return bounds.empty() ? type : fmt::format("{}, {}", type, bounds);
    }
    case FieldType::kFlag:
      return "true | false";
    case FieldType::kText:
      return "text";
    case FieldType::kTextMap:
      return "map";
    case FieldType::kGroup:
    case FieldType::kOptionalGroup:
      return "group";
    case FieldType::kGroupList:
      return "list";
  }
  return "";
}

Status CheckLeaf(const Field& field, const Leaf& leaf) {
  if (const auto* integer = std::get_if<int64_t*>(&leaf)) {
    return CheckNumber(field.text, static_cast<double>(**integer), LeafText(leaf));
  }
  if (const auto* number = std::get_if<double*>(&leaf)) {
    return CheckNumber(field.text, **number, LeafText(leaf));
  }
  if (std::holds_alternative<bool*>(leaf)) return OkStatus();
  if (const auto* text = std::get_if<std::string*>(&leaf)) return CheckText(field.text, **text);
  return CheckMap(field.text, *std::get<std::map<std::string, std::string>*>(leaf));
}

void VisitLeaves(const JobSpec& spec,
                 const std::function<void(const std::string& path, const Field& field,
                                          const std::string& text)>& visit) {
  // The accessors serve readers and writers; a visit only reads.
  VisitGroup(JobSpecFields(), const_cast<JobSpec*>(&spec), "", visit);
}

std::vector<const Field*> AllLeaves() {
  std::vector<const Field*> leaves;
  CollectLeaves(JobSpecFields(), &leaves);
  return leaves;
}

std::string NearestName(std::string_view wrong, const std::vector<std::string>& names) {
  if (wrong.empty() || wrong.size() > 64) return "";
  int64_t best_distance = std::max<int64_t>(1, static_cast<int64_t>(wrong.size()) / 3) + 1;
  std::string best;
  for (const std::string& name : names) {
    const int64_t distance = EditDistance(wrong, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best;
}

}  // namespace trainyard

// The one field table. Parsing, printing, validating, `--set`, JSON and docs/job-file.md are all
// driven by it: a field that is not in the table does not exist. Types and defaults are taken from
// the structs of job_spec.h themselves, so the two cannot disagree.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/job_spec/job_spec.h"
#include "common/status.h"

namespace trainyard {

enum class FieldType {
  kInteger,
  kNumber,
  kFlag,
  kText,
  kTextMap,
  kGroup,
  kOptionalGroup,
  kGroupList
};

// Another name for a field, as peers spell it. `values` turns the peer's values into ours.
struct FieldAlias {
  std::string name;
  std::vector<std::pair<std::string, std::string>> values = {};
};

// What people read about a field, and its rules.
struct FieldText {
  std::string name = "";  // the last part of its path
  std::string doc = "";   // what it is
  std::string cost = "";  // what moving it costs; may be empty
  bool required = false;
  bool filled_at_submit = false;  // by the client, not by hand
  // Numbers: inclusive bounds, except that `above` excludes the lower one. Lists and maps: `max` is
  // the largest number of entries. Texts: `max` bytes.
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above = false;
  std::vector<std::string> allowed = {};                                // texts: empty means any
  std::vector<std::pair<std::string, std::string>> value_aliases = {};  // peer's value -> ours
  std::vector<FieldAlias> aliases = {};
  std::string kinds = "all";  // the job kinds that use it
  // Of required ones: a job of kind evaluate needs it as well.
  bool required_to_evaluate = true;
};

using Leaf =
    std::variant<int64_t*, double*, bool*, std::string*, std::map<std::string, std::string>*>;

struct Field {
  FieldText text = {};
  FieldType type = FieldType::kGroup;
  std::string path = "";             // "train.learning_rate"; in lists "data.train[].path"
  std::vector<Field> children = {};  // of groups, optional groups and list elements

  // The field within the struct of its group. `leaf` is set for leaves, the rest for the others: a
  // group has one element, an optional group none or one, a list any number.
  Leaf (*leaf)(void* group) = nullptr;
  int64_t (*count)(const void* group) = nullptr;
  void* (*element)(void* group, int64_t i) = nullptr;
  void (*resize)(void* group, int64_t n) = nullptr;

  bool is_leaf() const { return leaf != nullptr; }
  const Field* Child(std::string_view name) const;
};

// The root: a group whose children are the top-level keys of a job file.
const Field& JobSpecFields();

// Keys of peers that are not fields here, with what to do instead: {"num_train_epochs", "..."}.
const std::map<std::string, std::string, std::less<>>& PeerKeysWithoutField();

// The value as a person writes it: 400, 0.003, cosine. Maps are not leaves of one text.
std::string LeafText(const Leaf& leaf);

// What the field has when nobody gives it; empty for empty texts and maps.
std::string DefaultText(const Field& field);

// The rule of a field's values for people: "integer, at least 1", "one of cosine | linear".
std::string RuleText(const Field& field);

// Checks one leaf against its rule; the message says what was found and what is wanted, without the
// field's path.
Status CheckLeaf(const Field& field, const Leaf& leaf);

// Calls `visit` for every leaf of `spec`, in table order, with its concrete path
// ("data.train[0].path") and text. A map is visited once per entry ("model.config.hidden_size").
// A list or optional group that is not there has no leaves.
void VisitLeaves(const JobSpec& spec,
                 const std::function<void(const std::string& path, const Field& field,
                                          const std::string& text)>& visit);

// All leaves of the table, in order, lists and maps once ("data.train[].path").
std::vector<const Field*> AllLeaves();

// The name in `names` that `wrong` most likely meant (fewest edits, at most a third of its length
// and at least one); empty when none is near.
std::string NearestName(std::string_view wrong, const std::vector<std::string>& names);

}  // namespace trainyard

// One value of one field from its text.
#pragma once

#include <string>
#include <string_view>

#include "common/job_spec/fields.h"
#include "common/job_spec/input.h"
#include "common/status.h"

namespace trainyard {

// Stores `scalar` in `leaf` (not a map) and checks it against the field's rule. Messages name
// neither field nor place. A peer's value is turned into ours, through `alias` (may be null) first.
// `interchange`: an integer or number may be written as text, as proto3's JSON writes int64, and
// the field's rule is left to Validate, so that an incomplete spec comes back as it was.
Status ReadScalar(const Field& field, const FieldAlias* alias, const InputNode& scalar,
                  bool interchange, const Leaf& leaf);

// The text form that ModelSpec::config keeps of a scalar: 288, true, llama; a text that would read
// as something else is kept in JSON's quotes ("\"true\""). `interchange`: the scalar is that form.
StatusOr<std::string> ConfigText(const InputNode& scalar, bool interchange);

}  // namespace trainyard

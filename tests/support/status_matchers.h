// Matchers for absl::Status, which Debian's absl does not bring.
#pragma once

#include <gmock/gmock.h>

#include <string>

#include "common/status.h"

namespace trainyard {

inline const Status& StatusOf(const Status& status) { return status; }
template <class T>
const Status& StatusOf(const StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER(IsOk, "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

// EXPECT_THAT(Parse("x"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("line 3")));
MATCHER_P2(StatusIs, code, message_matcher, "") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code &&
         testing::Matches(message_matcher)(MessageOf(StatusOf(arg)));
}

}  // namespace trainyard

#define ASSERT_OK(expression) ASSERT_THAT(expression, ::trainyard::IsOk())
#define EXPECT_OK(expression) EXPECT_THAT(expression, ::trainyard::IsOk())
#define ASSERT_OK_AND_ASSIGN(lhs, expression) \
  ASSERT_OK_AND_ASSIGN_(TRAINYARD_CONCAT(status_or_, __LINE__), lhs, expression)
#define ASSERT_OK_AND_ASSIGN_(holder, lhs, expression) \
  auto holder = (expression);                          \
  ASSERT_THAT(holder, ::trainyard::IsOk());            \
  lhs = *std::move(holder)

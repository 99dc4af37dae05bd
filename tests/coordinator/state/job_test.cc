#include "coordinator/state/job.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <set>

#include "common/files.h"
#include "coordinator/state/reasons.h"
#include "coordinator/state/state_drawing.h"
#include "tests/support/places.h"
#include "tests/support/status_matchers.h"

namespace trainyard::coordinator {
namespace {

using testing::HasSubstr;

std::vector<JobState> AllStates() {
  std::vector<JobState> states;
  for (int i = 0; i <= static_cast<int>(JobState::kCancelled); ++i) {
    states.push_back(static_cast<JobState>(i));
  }
  return states;
}

TEST(JobStates, NothingLeavesSucceededOrCancelled) {
  for (JobState to : AllStates()) {
    EXPECT_FALSE(IsLegal(JobState::kSucceeded, to)) << JobStateName(to);
    EXPECT_FALSE(IsLegal(JobState::kCancelled, to)) << JobStateName(to);
  }
}

TEST(JobStates, AFailedJobCanOnlyBeQueuedAgain) {
  for (JobState to : AllStates()) {
    EXPECT_EQ(IsLegal(JobState::kFailed, to), to == JobState::kQueued) << JobStateName(to);
  }
}

TEST(JobStates, EveryStateThatHoldsSlotsCanBeCancelled) {
  for (JobState state : AllStates()) {
    if (!HoldsSlots(state) || state == JobState::kCancelling) continue;
    EXPECT_TRUE(IsLegal(state, JobState::kCancelling)) << JobStateName(state);
  }
}

TEST(JobStates, EveryStateIsReachedFromPending) {
  std::set<JobState> reached = {JobState::kPending};
  for (size_t before = 0; before != reached.size();) {
    before = reached.size();
    for (const Transition& t : kTransitions) {
      if (reached.contains(t.from)) reached.insert(t.to);
    }
  }
  EXPECT_EQ(reached.size(), AllStates().size());
}

TEST(JobStates, EveryDeadlineLeadsAlongALegalTransition) {
  for (const StateDeadline& deadline : kStateDeadlines) {
    EXPECT_TRUE(IsLegal(deadline.state, deadline.then)) << JobStateName(deadline.state);
  }
  for (JobState state : {JobState::kStarting, JobState::kRecovering, JobState::kPreempting,
                         JobState::kPausing, JobState::kCancelling}) {
    EXPECT_NE(FindDeadline(state), nullptr) << JobStateName(state);
  }
  EXPECT_EQ(FindDeadline(JobState::kRunning), nullptr);
}

TEST(JobStates, NamesAreReadBack) {
  for (JobState state : AllStates()) EXPECT_EQ(ParseJobState(JobStateName(state)), state);
  EXPECT_EQ(ParseJobState("running"), std::nullopt);
}

TEST(Reasons, AnUnknownReasonIsOursAndWorthAnotherAttempt) {
  const ReasonRow row = FindReason("COSMIC_RAY");
  EXPECT_EQ(row.owner, ReasonOwner::kSystem);
  EXPECT_EQ(row.remedy, Remedy::kReplace);
}

TEST(Reasons, WhatTheUserMustMendIsNotTriedAgain) {
  for (const ReasonRow& row : kReasons) {
    EXPECT_EQ(row.owner == ReasonOwner::kUser, row.remedy == Remedy::kFail) << row.reason;
  }
}

TEST(DrawStates, IsWhatTheDocsShow) {
  const auto docs = SourceFolder() / "docs";
  std::string page;
  for (const char* name : {"states.md", "architecture.md"}) {
    const auto text = ReadFile(docs / name);
    if (text.ok() && text->find("<!-- states:begin -->") != std::string::npos) page = *text;
  }
  EXPECT_THAT(page, HasSubstr("<!-- states:begin -->\n" + DrawStates() + "<!-- states:end -->"));
}

}  // namespace
}  // namespace trainyard::coordinator

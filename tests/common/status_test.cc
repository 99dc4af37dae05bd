#include "common/status.h"

#include <gtest/gtest.h>

#include "common/files.h"

namespace trainyard {
namespace {

TEST(Status, QuotesBytesThatAreNotUtf8) {
  // fmt 9's {:?} aborts on this name where spdlog 1.10 brings its own copy of fmt.
  const std::string name = "\x8f\x88\x9a\x91\xd3";
  EXPECT_EQ(MessageOf(NotFound("no {:?} in {}", name, "a/\xffz")),
            "no \"\\\\x8f\\\\x88\\\\x9a\\\\x91\\\\xd3\" in a/\\xffz");
}

TEST(Status, IsUtf8WhateverItQuotes) {
  std::string bytes;
  for (int i = 0; i < 1024; ++i) bytes += static_cast<char>(i * 37 + i / 256);
  for (size_t begin = 0; begin < bytes.size(); ++begin) {
    const std::string text = bytes.substr(begin, 9);
    EXPECT_EQ(FindInvalidUtf8(MessageOf(DataLoss("{:?} and {}", text, text))), std::string::npos);
  }
}

TEST(Status, LeavesTextAsItIs) {
  EXPECT_EQ(MessageOf(InvalidArgument("{}: {:?} of {:>4}, {:.2f}", "größe", "два", 7, 0.5)),
            "größe: \"два\" of    7, 0.50");
}

}  // namespace
}  // namespace trainyard

#include "dialects/Mega/Pattern.h"

#include <gtest/gtest.h>

using namespace megacc::mega;

namespace {

std::string letters(std::string_view text, int64_t depth) {
  Pattern pattern = expandPattern(text, depth);
  std::string result;
  for (const PatternSlot &slot : pattern.slots)
    result += slot.letter;
  return pattern.errors.empty() ? result : "error: " + pattern.errors.front().message;
}

int64_t errorPosition(std::string_view text, int64_t depth = 4) {
  Pattern pattern = expandPattern(text, depth);
  return pattern.errors.empty() ? -1 : pattern.errors.front().position;
}

} // namespace

TEST(Pattern, TilesOverTheDepthAndMayEndMidTile) {
  EXPECT_EQ(letters("AEMEAEMEAEMR", 13), "AEMEAEMEAEMRA");
  EXPECT_EQ(letters("a f", 5), "AFAFA");
}

TEST(Pattern, ExpandsGroupsAndRepeats) {
  EXPECT_EQ(letters("(AE)x2 R", 5), "AEAER");
  EXPECT_EQ(letters("((A)x2 E)x2", 6), "AAEAAE");
  EXPECT_EQ(letters("(AE) R", 3), "AER");
}

TEST(Pattern, KeepsXAsALetterWhereItIsNoRepeat) { EXPECT_EQ(letters("AXA", 3), "AXA"); }

TEST(Pattern, BarsCutStagesAndForbidTiling) {
  EXPECT_EQ(expandPattern("AE|ME", 4).stage_cuts, std::vector<int64_t>{2});
  EXPECT_NE(letters("AE|ME", 5).find("it has 4 blocks, depth is 5"), std::string::npos);
}

TEST(Pattern, PointsAtTheMistake) {
  EXPECT_EQ(errorPosition("AB1"), 2);
  EXPECT_EQ(errorPosition("A(B"), 1);
  EXPECT_EQ(errorPosition("AB)C"), 2);
  EXPECT_EQ(errorPosition("A(B|C)"), 3);
  EXPECT_EQ(errorPosition("(AB)x0"), 4);
  EXPECT_EQ(errorPosition("ABx2"), 2);
  EXPECT_EQ(errorPosition("AB\\"), 2);
  EXPECT_EQ(errorPosition("A\xC3\x84"), 1);
  EXPECT_EQ(errorPosition(""), 0);
  EXPECT_EQ(errorPosition("A", 0), 0);
}

TEST(Pattern, ReportsEveryMistake) { EXPECT_EQ(expandPattern("1(2|3", 4).errors.size(), 5u); }

TEST(Pattern, RefusesAnExplosion) { EXPECT_FALSE(expandPattern("((((A)x9999)x9999)x9999)x9999", 4).errors.empty()); }

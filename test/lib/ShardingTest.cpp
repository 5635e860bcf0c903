// How ranks share tensors: text, local shapes.
#include "dialects/Interfaces/Sharding.h"

#include "gtest/gtest.h"

using namespace megacc;

namespace {

Sharding read(const std::string &text) {
  std::optional<Sharding> sharding = Sharding::parse(text);
  EXPECT_TRUE(sharding.has_value()) << text;
  return sharding.value_or(Sharding());
}

TEST(Sharding, TextsAreReadBack) {
  for (std::string text : {"", "dp 0:2048/", "tp +", "dp ~; tp 1:128/,4x64/,5,3+", "dp +; tp 0:2x7168/,8x1024/,3x112/,32; ep 2:6/"})
    EXPECT_EQ(read(text).str(), text);
  for (std::string text : {"pp 0:4/", "dp", "dp x:4/", "dp 0:", "dp 0:0/", "dp 0:4/,", "tp 0:ax4/"})
    EXPECT_FALSE(Sharding::parse(text).has_value()) << text;
}

TEST(Sharding, NeighboursAlikeAreOnePiece) {
  EXPECT_EQ(Spread::split(0, {{8, 8, Share::Split}, {8, 8, Share::Split}, {0, 1, Share::Split}, {2, 2}, {3, 3}}),
            Spread::split(0, {{16, 8, Share::Split}, {5, 5}}));
  EXPECT_EQ(Spread::split(1, {{2, 2}, {3, 3}}), Spread());
  EXPECT_EQ(Spread::split(1, {{5, 5, Share::Partial}}).kind, Share::Partial);
}

TEST(Sharding, SummandsBecomeWhole) {
  EXPECT_EQ(read("tp 0:8/,2+").axes[MG_TP].summed(), read("tp 0:8/,2").axes[MG_TP]);
  EXPECT_EQ(read("tp +").axes[MG_TP].summed(), Spread());
  EXPECT_TRUE(read("tp 0:8/,2+").axes[MG_TP].has(Share::Partial));
  EXPECT_FALSE(read("tp 0:8/,2").axes[MG_TP].has(Share::Partial));
}

TEST(Sharding, LocalShapesAreThoseOfThePieces) {
  EXPECT_EQ(read("dp 0:12/; tp 1:128/,4x64/,5,3+").getLocalShape({12, 392}, {3, 2, 1}), (llvm::SmallVector<int64_t>{4, 200}));
  EXPECT_EQ(read("tp +").getLocalShape({12, 392}, {3, 2, 1}), (llvm::SmallVector<int64_t>{12, 392}));
  EXPECT_EQ(read("dp 0:12/; ep 0:12/").getLocalShape({12, 5}, {3, 1, 2}), (llvm::SmallVector<int64_t>{2, 5})); // parts of parts
}

} // namespace

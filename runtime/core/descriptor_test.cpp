#include "runtime/core/Descriptor.h"

#include <fstream>
#include <gtest/gtest.h>

using namespace megacc::runtime;

namespace {

template <typename Body> std::string errorOf(Body &&body) {
  try {
    body();
  } catch (const ArtifactError &error) {
    return error.what();
  }
  return "";
}

} // namespace

TEST(Descriptor, RefusesOtherAbiVersionsAndSaysWhichSideIsOld) {
  std::string older = errorOf([] { readDescriptor(R"({"abi":0})"); }), newer = errorOf([] { readDescriptor(R"({"abi":99})"); });
  const std::string mine = ", this megacc-run has " + std::to_string(MEGACC_ABI_VERSION);
  EXPECT_NE(older.find("ABI version 0" + mine + "; fix: compile the declaration again"), std::string::npos) << older;
  EXPECT_NE(newer.find("ABI version 99" + mine + "; fix: use a newer megacc-run"), std::string::npos) << newer;
}

TEST(Descriptor, RefusesDamagedTexts) {
  for (const char *text : {"", "{", "[]", R"({"abi":4})", R"({"abi":4,"model":3})"})
    EXPECT_NE(errorOf([&] { readDescriptor(text); }).find("damaged"), std::string::npos) << text;
}

TEST(Artifact, RefusesWhatIsNoStep) {
  std::string path = testing::TempDir() + "no-step.so";
  EXPECT_NE(errorOf([&] { readArtifact(path + ".missing"); }).find("cannot open"), std::string::npos);
  for (const char *text : {"", "MEGACC01", "some text that ends otherwise"}) {
    std::ofstream(path) << text;
    EXPECT_NE(errorOf([&] { readArtifact(path); }).find("is not a step.so, or is cut off"), std::string::npos) << text;
  }
  std::ofstream(path) << "not an ELF image" << std::string(16, 'h') << "MEGACC01";
  EXPECT_NE(errorOf([&] { readArtifact(path); }).find("has changed since it was compiled"), std::string::npos);
}

namespace {

ParameterPlace placeOf(std::vector<int64_t> shape, std::vector<std::vector<std::array<int64_t, 2>>> ranges) {
  ParameterPlace place;
  place.shape = std::move(shape), place.ranges = std::move(ranges);
  return place;
}

/// "begin: first + count" of every run.
std::vector<std::string> runsOf(const ParameterPlace &place) {
  std::vector<std::string> texts;
  for (const ElementRun &run : place.runs())
    texts.push_back(std::to_string(run.begin) + ": " + std::to_string(run.first) + " + " + std::to_string(run.count));
  return texts;
}

using Texts = std::vector<std::string>;

} // namespace

TEST(Runs, AreOneWhereTheTensorIsWhole) {
  EXPECT_EQ(runsOf(placeOf({4, 6}, {})), (Texts{"0: 0 + 24"}));
  EXPECT_EQ(runsOf(placeOf({4, 6}, {{{0, 4}}, {{0, 6}}})), (Texts{"0: 0 + 24"}));
  EXPECT_EQ(runsOf(placeOf({}, {})), (Texts{"0: 0 + 1"}));
}

TEST(Runs, FollowTheRangesOfEveryDimension) {
  EXPECT_EQ(runsOf(placeOf({4, 6}, {{{2, 4}}, {{0, 6}}})), (Texts{"0: 12 + 12"}));
  EXPECT_EQ(runsOf(placeOf({4, 6}, {{{0, 4}}, {{3, 6}}})), (Texts{"0: 3 + 3", "3: 9 + 3", "6: 15 + 3", "9: 21 + 3"}));
  EXPECT_EQ(runsOf(placeOf({8, 2}, {{{0, 1}, {4, 6}, {6, 7}}, {{0, 2}}})), (Texts{"0: 0 + 2", "2: 8 + 6"}));
  EXPECT_EQ(runsOf(placeOf({2, 3, 4}, {{{1, 2}}, {{0, 3}}, {{0, 1}, {3, 4}}})),
            (Texts{"0: 12 + 1", "1: 15 + 2", "3: 19 + 2", "5: 23 + 1"}));
  EXPECT_EQ(placeOf({2, 3, 4}, {{{1, 2}}, {{0, 3}}, {{0, 1}, {3, 4}}}).elements(), 6);
}

TEST(Descriptor, PiecesAreRangesOfARank) {
  // Of 22 rows: two blocks of 6 of which each rank has half, then 4 that all have, then 6.
  ParameterPlace place = placeOf({22, 3}, {});
  place.pieces = {{{MG_TP, 12, 6}, {-1, 4, 4}, {MG_TP, 6, 6}}, {{-1, 3, 3}}};
  using Ranges = std::vector<std::vector<std::array<int64_t, 2>>>;
  EXPECT_EQ(place.rangesOf({1, 2, 1}, {0, 0, 0}), (Ranges{{{0, 3}, {6, 9}, {12, 19}}, {{0, 3}}}));
  EXPECT_EQ(place.rangesOf({1, 2, 1}, {0, 1, 0}), (Ranges{{{3, 6}, {9, 16}, {19, 22}}, {{0, 3}}}));
}

TEST(Descriptor, RanksOwnPartsOfASweep) {
  // Elements 128 to 133 of 512, which dp = 2 and ep = 2 share: those of ep follow one another.
  ParameterPlace place = placeOf({2, 3}, {});
  using Own = std::optional<std::array<int64_t, 2>>;
  EXPECT_EQ(place.ownOf({2, 1, 2}, {1, 0, 1}), Own());
  place.swept = {1 << MG_DP | 1 << MG_EP, 128, 512};
  EXPECT_EQ(place.ownOf({2, 1, 2}, {0, 0, 0}), Own({-128, 0}));
  EXPECT_EQ(place.ownOf({2, 1, 2}, {0, 0, 1}), Own({0, 128}));
  EXPECT_EQ(place.ownOf({2, 1, 2}, {1, 0, 0}), Own({128, 256}));
  place.swept = {1 << MG_DP, 126, 256};
  EXPECT_EQ(place.ownOf({2, 1, 2}, {0, 0, 1}), Own({-126, 2}));
  EXPECT_EQ(place.ownOf({2, 1, 2}, {1, 0, 1}), Own({2, 130}));
}

TEST(Descriptor, RefusesParametersThatNoCompilerWrites) {
  auto error = [](const std::string &dtype, const std::string &more, int64_t tp = 1) {
    return errorOf([&] {
      readDescriptor(
          R"({"abi":4,"model":"m","target":"cpu","megacc":"0","hidden":1,"vocab":1,"sequence":1,"depth":1,"micro_batch":1,"accumulate":1,
        "seed":0,"clip":0,"documents":0,"precision":"fp32","declaration":{},
        "optimizer":{"lr":0,"beta1":0,"beta2":0,"final":0,"schedule":"","warmup":0,"steps":0},"mesh":{"dp":1,"ep":1,"tp":)" +
          std::to_string(tp) + R"(},"segments":[{"bytes":0},{"bytes":0},{"bytes":0},{"bytes":0},{"bytes":0},{"bytes":0}],
        "parameters":[{"name":"w","dtype":")" +
          dtype + R"(","shape":[4,2],"init":"normal","init_a":1,"decays":true,"trained":false,"block":0,"offset":0)" + more +
          R"(}],"inputs":[],"metrics":[],"outputs":[],"kernels":{},"functions":[],"receipt":[]})");
    });
  };
  EXPECT_EQ(error("f32", ""), "");
  EXPECT_EQ(error("bf16", R"(,"master":0)"), "");
  EXPECT_EQ(error("f32", R"(,"ranges":[[[2,4],[0,2]],[[0,2]]])"), "");
  EXPECT_EQ(error("f32", R"(,"ranges":[[[2,4]],[[0,2]]])", 2), "");
  EXPECT_EQ(error("f32", R"(,"pieces":[[[1,2,2],[-1,2,2]],[[-1,2,2]]])", 2), "");
  for (const char *swept : {"[2,0,3]", "[2,256,256]", "[2,-1,256]", "[8,0,256]", "[2,0,256]"}) // the last: it is not trained
    EXPECT_NE(error("f32", std::string(",\"swept\":") + swept, 2).find("the update of parameter 'w', element "), std::string::npos)
        << swept;
  for (const char *pieces : {"[[[1,4,4]]]", "[[[1,4,4]],[[1,4,2]]]", "[[[1,2,2]],[[-1,2,2]]]", "[[[3,4,4]],[[-1,2,2]]]",
                             "[[[1,4,1]],[[-1,2,2]]]", "[[[1,4,0]],[[-1,2,2]]]", "[[[1,4,3]],[[-1,2,2]]]"})
    EXPECT_NE(error("f32", std::string(",\"pieces\":") + pieces, 2).find("pieces of parameter 'w' are not those of (4, 2)"),
              std::string::npos)
        << pieces;
  for (auto [dtype, more, words] : {std::array{"f16", "", "'w' has dtype 'f16'"},
                                    {"i32", "", "parameter 'w' has dtype i32"},
                                    {"bf16", "", "parameter 'w' is bf16 and lacks a master"},
                                    {"f32", R"(,"master":0)", "parameter 'w' is f32 and has a master"},
                                    {"f32", R"(,"ranges":[[[0,4]]])", "has 2 dimensions and ranges for 1"},
                                    {"f32", R"(,"ranges":[[[0,5]],[[0,2]]])", "(4, 2) has the range [0, 5) in dimension 0"},
                                    {"f32", R"(,"ranges":[[[2,4],[2,4]],[[0,2]]])", "are not its 8 elements, once each"},
                                    {"f32", R"(,"ranges":[[[2,4]],[[0,2]]])", "are not its 8 elements, once each"}})
    EXPECT_NE(error(dtype, more).find(words), std::string::npos) << error(dtype, more) << "; expected: " << words;
}

#include "runtime/core/Arena.h"
#include "runtime/core/Descriptor.h"

#include <cstdlib>
#include <cstring>
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
  EXPECT_NE(older.find("ABI version 0, this megacc-run has 1; fix: compile the declaration again"), std::string::npos) << older;
  EXPECT_NE(newer.find("ABI version 99, this megacc-run has 1; fix: use a newer megacc-run"), std::string::npos) << newer;
}

TEST(Descriptor, RefusesDamagedTexts) {
  for (const char *text : {"", "{", "[]", R"({"abi":1})", R"({"abi":1,"model":3})"})
    EXPECT_NE(errorOf([&] { readDescriptor(text); }).find("damaged"), std::string::npos) << text;
}

TEST(Artifact, RefusesWhatIsNoStep) {
  std::string path = testing::TempDir() + "no-step.so";
  EXPECT_NE(errorOf([&] { readArtifact(path + ".missing"); }).find("cannot open"), std::string::npos);
  for (const char *text : {"", "MEGACC01", "some text that ends otherwise"}) {
    std::ofstream(path) << text;
    EXPECT_NE(errorOf([&] { readArtifact(path); }).find("is no step.so, or is cut off"), std::string::npos) << text;
  }
  std::ofstream(path) << "not an ELF image" << std::string(16, 'h') << "MEGACC01";
  EXPECT_NE(errorOf([&] { readArtifact(path); }).find("has changed since it was compiled"), std::string::npos);
}

TEST(Arena, StartsEverySegmentAlignedAndCanBeFilled) {
  const int64_t sizes[MG_SEGMENT_COUNT] = {256, 0, 4096, 8448, 512};
  Arena arena(sizes);
  EXPECT_EQ(arena.reserved(), 13312);
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment)
    EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.segment(segment)) % 256, 0u);
  arena.poison();
  float value;
  std::memcpy(&value, arena.segment(MG_TEMPORARIES) + 8444, sizeof value);
  EXPECT_NE(value, value);
}

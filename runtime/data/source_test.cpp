#include "runtime/data/Source.h"
#include "runtime/state/Random.h"

#include <array>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>

using namespace megacc::runtime;
namespace fs = std::filesystem;

namespace {

class Sources : public testing::Test {
protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "source-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

  fs::path write(const std::string &name, const std::string &text) {
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary) << text;
    return folder / name;
  }

  fs::path folder;
};

std::string errorOf(const std::function<void()> &body) {
  try {
    body();
  } catch (const DataError &error) {
    return error.what();
  }
  return "";
}

} // namespace

TEST_F(Sources, ConcatenatesFilesSortedByTheBytesOfTheirPath) {
  write("b", "BB"), write("a/z", "Z"), write("B", "x"), write("empty", "");
  Source source = Source::fromBytes(Source::listFiles({folder}));
  ASSERT_EQ(source.size(), 4);
  std::array<int32_t, 4> tokens;
  source.read(0, 256, tokens);
  EXPECT_EQ(tokens, (std::array<int32_t, 4>{'x', 'Z', 'B', 'B'}));
}

TEST_F(Sources, NamesValueFileAndPositionOfATokenOutsideTheVocabulary) {
  fs::path file = write("t.bin", std::string("\x01\x00\x2c\x01", 4));
  Source source = Source::fromTokens(file, 2);
  ASSERT_EQ(source.size(), 2);
  std::array<int32_t, 2> tokens;
  source.read(0, 301, tokens);
  EXPECT_EQ(tokens[1], 300);
  std::string error = errorOf([&] { source.read(0, 300, tokens); });
  EXPECT_NE(error.find("t.bin: token 300 at position 1 is outside the model's vocab 300"), std::string::npos) << error;
}

TEST_F(Sources, CountsPositionsFromTheStartOfTheirFile) {
  write("a", "aaa"), write("b", "ab");
  Source source = Source::fromBytes(Source::listFiles({folder}));
  std::array<int32_t, 5> tokens;
  std::string error = errorOf([&] { source.read(0, 'b', tokens); });
  EXPECT_NE(error.find("b: token 98 at position 1"), std::string::npos) << error;
}

TEST_F(Sources, RefusesMissingEmptyAndRaggedFiles) {
  EXPECT_NE(errorOf([&] { Source::listFiles({folder / "none"}); }).find("no such file"), std::string::npos);
  EXPECT_NE(errorOf([&] { Source::fromTokens(folder / "none", 2); }).find("cannot open"), std::string::npos);
  EXPECT_NE(errorOf([&] { Source::fromBytes({write("e", "")}); }).find("no bytes"), std::string::npos);
  EXPECT_NE(errorOf([&] { Source::fromTokens(write("e.bin", ""), 2); }).find("empty"), std::string::npos);
  EXPECT_NE(errorOf([&] { Source::fromTokens(write("r.bin", "abc"), 2); }).find("3 bytes are no whole number of 2-byte"),
            std::string::npos);
}

TEST_F(Sources, NumbersFilesAsDocuments) {
  write("a", "aa"), write("b", ""), write("c", "ccc");
  Source source = Source::fromBytes(Source::listFiles({folder}));
  std::array<int32_t, 4> ids;
  source.readDocuments(1, ids);
  EXPECT_EQ(ids, (std::array<int32_t, 4>{0, 2, 2, 2}));
}

TEST_F(Sources, ReadsMegatronsIndexAndRefusesOneThatDoesNotFit) {
  auto number = [](auto value) { return std::string(reinterpret_cast<const char *>(&value), sizeof value); };
  std::string header = std::string("MMIDIDX\0\0", 9) + number(uint64_t(1)) + number(uint8_t(8)) + number(uint64_t(2)) + number(uint64_t(2));
  fs::path bin = write("d.bin", number(uint16_t(7)) + number(uint16_t(300)) + number(uint16_t(9)));
  fs::path idx = write("d.idx", header + number(int32_t(1)) + number(int32_t(2)));
  Corpus corpus = openCorpus({bin}, "", 512, true);
  ASSERT_EQ(corpus.train.size(), 3);
  std::array<int32_t, 3> tokens, ids;
  corpus.train.read(0, 301, tokens), corpus.train.readDocuments(0, ids);
  EXPECT_EQ(tokens, (std::array<int32_t, 3>{7, 300, 9}));
  EXPECT_EQ(ids, (std::array<int32_t, 3>{0, 1, 1}));
  write("d.idx", header + number(int32_t(1)) + number(int32_t(5)));
  EXPECT_NE(errorOf([&] { Source::fromMegatron(bin, idx); }).find("6 bytes, its index describes 6 tokens"), std::string::npos);
  write("d.idx", header);
  EXPECT_NE(errorOf([&] { Source::fromMegatron(bin, idx); }).find("cut off"), std::string::npos);
  write("d.idx", "something else altogether");
  EXPECT_NE(errorOf([&] { Source::fromMegatron(bin, idx); }).find("no Megatron index"), std::string::npos);
}

TEST_F(Sources, RefusesBytesForASmallVocabulary) {
  fs::path file = write("a", "aa");
  EXPECT_NE(errorOf([&] { openCorpus({file}, "", 64, true); }).find("at least 256, the model has 64"), std::string::npos);
}

TEST(Split, HoldsOutEveryTwentiethFileFromTheEighth) {
  std::vector<fs::path> files;
  for (int i = 0; i < 30; ++i)
    files.push_back(std::to_string(i));
  EXPECT_EQ(splitFiles(files).held_out, (std::vector<fs::path>{"7", "27"}));
  EXPECT_EQ(splitFiles(files).train.size(), 28u);
  files.resize(7);
  EXPECT_TRUE(splitFiles(files).held_out.empty());
}

TEST(Sampling, DependsOnTheStreamAndTheSampleAlone) {
  EXPECT_EQ(samplePosition(3, "data", 5, 1000, 24), int64_t(draw(streamKey(3, "data"), 5) % 976));
  EXPECT_NE(errorOf([] { samplePosition(0, "data", 0, 24, 24); }).find("24 tokens, a sample of sequence 24 needs 25"), std::string::npos);
  EXPECT_EQ(samplePosition(0, "data", 0, 25, 24), 0);
}

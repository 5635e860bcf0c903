#include "runtime/data/Corpus.h"
#include "runtime/state/Random.h"

#include <algorithm>
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
    folder = fs::canonical(name);
    before = fs::current_path();
  }
  void TearDown() override {
    fs::current_path(before);
    fs::remove_all(folder);
  }

  fs::path write(const std::string &name, const std::string &text) {
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary) << text;
    return folder / name;
  }

  fs::path folder, before;
};

std::string errorOf(const std::function<void()> &body) {
  try {
    body();
  } catch (const DataError &error) {
    return error.what();
  }
  return "";
}

void expectError(const std::function<void()> &body, const std::string &words) {
  std::string error = errorOf(body);
  EXPECT_NE(error.find(words), std::string::npos) << "'" << error << "'; expected: " << words;
}

std::vector<fs::path> pathsOf(const FileList &list) {
  std::vector<fs::path> paths;
  for (const DataFile &file : list.files)
    paths.push_back(file.path);
  return paths;
}

std::vector<int32_t> tokensOf(const Source &source, int64_t vocab = 1 << 30) {
  std::vector<int32_t> tokens(source.size());
  source.read(0, vocab, tokens);
  return tokens;
}

template <typename T> std::string bytesOf(const std::vector<T> &values) {
  return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}
template <typename T> std::string number(T value) { return bytesOf(std::vector<T>{value}); }

/// An index as Megatron writes it; each column can be given otherwise.
struct Index {
  uint64_t version = 1;
  uint8_t type = 8;
  std::vector<int32_t> lengths;
  std::vector<int64_t> pointers, groups;
  std::optional<uint64_t> sequence_count, group_count;

  std::string bytes() const {
    return std::string("MMIDIDX\0\0", 9) + number(version) + number(type) + number(sequence_count.value_or(lengths.size())) +
           number(group_count.value_or(groups.size())) + bytesOf(lengths) + bytesOf(pointers) + bytesOf(groups);
  }
};

} // namespace

// Files.

TEST_F(Sources, ConcatenatesFilesSortedByTheBytesOfTheirPath) {
  write("b", "BB"), write("a/z", "Z"), write("B", "x"), write("empty", "");
  Source source = Source::fromBytes(pathsOf(listFiles({folder})));
  EXPECT_EQ(tokensOf(source), (std::vector<int32_t>{'x', 'Z', 'B', 'B'}));
}

TEST_F(Sources, AreTheSameFilesHoweverTheyAreSpelled) {
  for (const char *name : {"a/z", "a/m", "b/n", "b/a"})
    write(name, name);
  fs::create_directory_symlink(folder / "b", folder / "link");
  std::vector<fs::path> expected = {folder / "a/m", folder / "a/z", folder / "b/a", folder / "b/n"};
  EXPECT_EQ(pathsOf(listFiles({folder / "a", folder / "b"})), expected);
  EXPECT_EQ(pathsOf(listFiles({folder / "b", folder / "a"})), expected);
  EXPECT_EQ(pathsOf(listFiles({folder / "link", folder / "a/../a"})), expected);
  fs::current_path(folder / "a");
  EXPECT_EQ(pathsOf(listFiles({".", "../b"})), expected);
  EXPECT_EQ(pathsOf(listFiles({"../b", "z", "./m"})), expected);
}

TEST_F(Sources, ReadEachFileOnce) {
  write("a/x", "x"), write("a/y", "y");
  fs::create_symlink(folder / "a/x", folder / "a/linked");
  fs::create_hard_link(folder / "a/y", folder / "a/z");
  std::vector<fs::path> expected = {folder / "a/x", folder / "a/y"};
  for (const std::vector<fs::path> &twice : {std::vector{folder / "a"}, {folder / "a", folder / "a"}, {folder / "a", folder / "a/x"}}) {
    FileList list = listFiles(twice);
    EXPECT_EQ(pathsOf(list), expected);
    EXPECT_GE(list.repeated, 2);
  }
}

TEST_F(Sources, HoldOutTheSameFilesOfAFolderThatIsNamedTwice) {
  for (char name = 'a'; name < 'k'; ++name)
    write(std::string("d/") + name, std::string(3, name));
  Corpus once = openCorpus({folder / "d"}, "", 256, true), twice = openCorpus({folder / "d", folder / "d", folder / "d/h"}, "", 256, true);
  EXPECT_EQ(tokensOf(*once.held_out), std::vector<int32_t>(3, 'h'));
  EXPECT_EQ(tokensOf(*twice.held_out), std::vector<int32_t>(3, 'h'));
  EXPECT_EQ(tokensOf(twice.train), tokensOf(once.train));
  ASSERT_EQ(twice.notes.size(), 1u);
  EXPECT_NE(twice.notes[0].find("11 files are named more than once"), std::string::npos) << twice.notes[0];
  EXPECT_TRUE(once.notes.empty());
}

TEST_F(Sources, NeverReadTheFolderOfTheRun) {
  write("d/a", "a"), write("d/runs/one/checkpoint.safetensors", "no"), write("d/runs/one/deep/er", "no"), write("d/runs/other", "o");
  fs::create_symlink(folder / "d/runs/one/checkpoint.safetensors", folder / "d/linked");
  std::vector<fs::path> expected = {folder / "d/a", folder / "d/runs/other"};
  FileList list = listFiles({folder / "d"}, {folder / "d/runs/../runs/one"});
  EXPECT_EQ(pathsOf(list), expected);
  EXPECT_EQ(list.left_out, (std::vector<fs::path>{folder / "d/runs/one"}));
  fs::current_path(folder / "d/runs");
  EXPECT_EQ(pathsOf(listFiles({".."}, {"one"})), expected);
  EXPECT_EQ(pathsOf(listFiles({"../a"}, {"not-there-yet"})), (std::vector<fs::path>{folder / "d/a"}));
  expectError([] { listFiles({"../runs/one"}, {"one"}); },
              "../runs/one: is the folder of this run, which it writes to; fix: another --out");
  // Other runs are known by their lock.
  write("d/runs/two/metrics.jsonl", "no"), write("d/runs/two/run.lock", "no");
  EXPECT_EQ(pathsOf(listFiles({folder / "d"}, {folder / "d/runs/one"})), expected);
  // What lies in the run's folder and is named itself is meant.
  EXPECT_EQ(pathsOf(listFiles({"one/deep"}, {"one"})), (std::vector<fs::path>{folder / "d/runs/one/deep/er"}));
}

TEST_F(Sources, NameEveryPathThatCannotBeRead) {
  write("a", "a");
  std::string error = errorOf([&] { listFiles({folder / "none", folder / "a", folder / "nor this", "/dev/null"}); });
  for (const char *words : {"none: there is no such file or folder", "nor this: there is no", "/dev/null: is neither a file nor a folder"})
    EXPECT_NE(error.find(words), std::string::npos) << error;
}

// Bytes and token files.

TEST_F(Sources, NamesValueFileAndPositionOfATokenOutsideTheVocabulary) {
  fs::path file = write("t.bin", std::string("\x01\x00\x2c\x01", 4));
  Source source = Source::fromTokens(file, 2);
  EXPECT_EQ(tokensOf(source, 301), (std::vector<int32_t>{1, 300}));
  expectError([&] { tokensOf(source, 300); }, "t.bin: token 300 at position 1 is outside the model's vocab 300");
}

TEST_F(Sources, CountsPositionsFromTheStartOfTheirFile) {
  write("a", "aaa"), write("b", "ab");
  Source source = Source::fromBytes({folder / "a", folder / "b"});
  expectError([&] { tokensOf(source, 'b'); }, "b: token 98 at position 1");
}

TEST_F(Sources, RefusesMissingEmptyAndRaggedFiles) {
  expectError([&] { Source::fromTokens(folder / "none", 2); }, "cannot open");
  expectError([&] { Source::fromTokens(folder, 2); }, "cannot open: it is a folder");
  expectError([&] { openCorpus({write("e", "")}, "", 256, true); }, "e: has no bytes");
  expectError([&] { Source::fromTokens(write("e.bin", ""), 2); }, "the token file is empty");
  expectError([&] { openCorpus({write("e.bin", "")}, "", 256, true); }, "the token file is empty");
  expectError([&] { Source::fromTokens(write("r.bin", "abc"), 2); }, "3 bytes are not a whole number of 2-byte");
}

TEST_F(Sources, SayThatATokenFileWasTruncatedWithBothSizes) {
  fs::path file = write("t.bin", std::string(200, '\1'));
  Source source = Source::fromTokens(file, 2);
  std::array<int32_t, 4> tokens;
  fs::resize_file(file, 300);
  source.read(96, 1 << 16, tokens); // what follows does not matter
  fs::resize_file(file, 198);
  std::string words = "t.bin: has 198 bytes, it had 200 when it was opened: it was truncated; fix: restore it";
  expectError([&] { source.read(96, 1 << 16, tokens); }, words);
  expectError([&] { source.read(0, 1 << 16, tokens); }, words);
  write("t.bin", std::string(200, '\2'));
  source.read(96, 1 << 16, tokens);
  EXPECT_EQ(tokens[3], 0x202);
}

// Sidecars.

TEST_F(Sources, SidecarsGiveDocumentsAndColumns) {
  write("d/a.bin", bytesOf(std::vector<uint16_t>{1, 2, 3, 4, 5}));
  write("d/a.documents.bin", bytesOf(std::vector<int32_t>{7, 7, -1, 7, 7})); // the same id later is another document
  write("d/a.dep_level.bin", bytesOf(std::vector<uint8_t>{0, 9, 255, 3, 4}));
  write("d/b.bin", bytesOf(std::vector<uint16_t>{6, 7}));
  write("d/b.dep_level.bin", bytesOf(std::vector<uint16_t>{300, 1}));
  Corpus corpus = openCorpus({folder / "d"}, "uint16", 256, true, {}, {"dep_level", "ast_depth"}); // sidecars are no tokens
  const Source &source = corpus.train;
  EXPECT_EQ(tokensOf(source), (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7}));
  std::array<int32_t, 7> ids, levels;
  source.readDocuments(0, ids);
  EXPECT_EQ(ids, (std::array<int32_t, 7>{0, 0, 1, 2, 2, 3, 3}));
  source.readColumn("dep_level", 0, 301, levels);
  EXPECT_EQ(levels, (std::array<int32_t, 7>{0, 9, 255, 3, 4, 300, 1}));
  source.readColumn("dep_level", 4, 301, std::span(levels).first(2));
  EXPECT_EQ(levels[0], 4);
  EXPECT_EQ(levels[1], 300);
  EXPECT_EQ(source.findWithout("dep_level"), fs::path());
  EXPECT_EQ(source.findWithout("ast_depth"), folder / "d/a.bin");
  EXPECT_TRUE(source.knowsDocuments());
  expectError(
      [&] { source.readColumn("dep_level", 0, 300, levels); },
      "b.dep_level.bin: id 300 at position 0 is outside the 300 ids that the model has for 'dep_level'; fix: declare a larger size");
}

TEST_F(Sources, SidecarsOfAnotherLengthAreRefusedWithBothNumbers) {
  fs::path tokens = write("t.bin", bytesOf(std::vector<uint16_t>{1, 2, 3}));
  write("t.dep_level.bin", "abcd");
  expectError([&] { openCorpus({tokens}, "uint16", 256, true, {}, {"dep_level"}); },
              "t.dep_level.bin: has 4 bytes for the 3 tokens of t.bin, expected 3 (uint8) or 6 (uint16)");
  openCorpus({tokens}, "uint16", 256, true); // nobody asked for it
  write("t.documents.bin", bytesOf(std::vector<int32_t>{1, 2}));
  expectError([&] { openCorpus({tokens}, "uint16", 256, true); },
              "t.documents.bin: has 8 bytes for the 3 tokens of t.bin, expected 12 (int32)");
}

TEST_F(Sources, SidecarsArePartOfTheFingerprint) {
  fs::path tokens = write("t.bin", bytesOf(std::vector<uint16_t>{1, 2, 3}));
  auto content = [&](const std::vector<std::string> &columns) {
    return openCorpus({tokens}, "uint16", 256, true, {}, columns).train.fingerprint()["content"];
  };
  std::string bare = content({});
  EXPECT_FALSE(openCorpus({tokens}, "uint16", 256, true).train.knowsDocuments());
  write("t.dep_level.bin", "abc");
  EXPECT_EQ(content({}), bare);
  std::string first = content({"dep_level"});
  write("t.dep_level.bin", "abd");
  EXPECT_NE(content({"dep_level"}), first);
  write("t.documents.bin", bytesOf(std::vector<int32_t>{1, 1, 2}));
  EXPECT_NE(content({}), bare);
}

/// Three documents, of two files: chunks are numbered through a row, and relations stay inside their document.
TEST_F(Sources, RelationsOfARow) {
  fs::path first = write("a.bin", bytesOf(std::vector<uint16_t>{1, 2, 3, 4, 5, 6, 7})),
           second = write("b.bin", bytesOf(std::vector<uint16_t>{8, 9}));
  write("a.documents.bin", bytesOf(std::vector<int32_t>{0, 0, 0, 0, 5, 5, 5}));
  write("a.relation.chunk.bin", bytesOf(std::vector<uint8_t>{2, 0, 0, 255, 1, 0, 1}));
  write("a.relation.bits.bin", bytesOf(std::vector<int32_t>{3, 11, 12, 13, 21, 22, 23, 31, 32, 33, 2, 4, 5, 6, 7}));
  write("b.relation.chunk.bin", bytesOf(std::vector<uint16_t>{0, 300}));
  write("b.relation.bits.bin", bytesOf(std::vector<int32_t>{1, 99}));
  Source source = openCorpus({first, second}, "uint16", 256, true, {}, {relation_chunk, relation_bits}).train;
  EXPECT_EQ(source.findWithout(relation_chunk), fs::path());
  EXPECT_EQ(source.findWithout(relation_bits), fs::path());
  std::vector<int32_t> chunk(9), bits(25, -7);
  source.readRelations(0, 5, chunk, bits);
  EXPECT_EQ(chunk, (std::vector<int32_t>{0, 1, 1, -1, 2, 3, 2, 4, -1}));
  EXPECT_EQ(bits, (std::vector<int32_t>{33, 31, 0, 0, 0, 13, 11, 0, 0, 0, 0, 0, 7, 6, 0, 0, 0, 5, 4, 0, 0, 0, 0, 0, 99}));
  // From inside a document, with places for two chunks.
  chunk.resize(6), bits.assign(4, -7);
  source.readRelations(2, 2, chunk, bits);
  EXPECT_EQ(chunk, (std::vector<int32_t>{0, -1, 1, -1, 1, -1}));
  EXPECT_EQ(bits, (std::vector<int32_t>{11, 0, 0, 7}));
  EXPECT_EQ(openCorpus({folder}, "uint16", 256, true).train.size(), 9); // of a folder the two token files alone
  fs::resize_file(folder / "a.relation.bits.bin", 44);
  expectError([&] { openCorpus({first}, "uint16", 256, true, {}, {relation_bits}); },
              "a.relation.bits.bin: the table of document 1 of 2 begins at byte 40 with 2 chunks, the file has 44 bytes");
  write("a.relation.bits.bin", bytesOf(std::vector<int32_t>{INT32_MAX, 0, 0})); // whose square is more bytes than 64 bits count
  expectError([&] { openCorpus({first}, "uint16", 256, true, {}, {relation_bits}); },
              "the table of document 0 of 2 begins at byte 0 with 2147483647 chunks, the file has 12 bytes");
  write("a.relation.bits.bin", bytesOf(std::vector<int32_t>{0, 0, 0}));
  expectError([&] { openCorpus({first}, "uint16", 256, true, {}, {relation_bits}); },
              "a.relation.bits.bin: has 12 bytes, the tables of the 2 documents of a.bin end after 8; fix: write both again");
}

TEST_F(Sources, SayThatASidecarWasTruncated) {
  fs::path tokens = write("t.bin", bytesOf(std::vector<uint16_t>{1, 2, 3}));
  fs::path sidecar = write("t.dep_level.bin", "abc");
  Corpus corpus = openCorpus({tokens}, "uint16", 256, true, {}, {"dep_level"});
  fs::resize_file(sidecar, 2);
  std::array<int32_t, 3> values;
  expectError([&] { corpus.train.readColumn("dep_level", 0, 256, values); }, "t.dep_level.bin: has 2 bytes, it had 3 when it was opened");
}

TEST_F(Sources, NumbersFilesAsDocuments) {
  write("a", "aa"), write("b", ""), write("c", "ccc");
  Source source = Source::fromBytes({folder / "a", folder / "b", folder / "c"});
  std::array<int32_t, 4> ids;
  source.readDocuments(1, ids);
  EXPECT_EQ(ids, (std::array<int32_t, 4>{0, 2, 2, 2}));
}

TEST_F(Sources, KnowWhetherThereIsAnythingToPredict) {
  write("a", "a"), write("b", ""), write("c", "c"), write("d", "dd");
  EXPECT_FALSE(Source::fromBytes({folder / "a", folder / "b", folder / "c"}).hasLongDocument());
  EXPECT_TRUE(Source::fromBytes({folder / "a", folder / "d"}).hasLongDocument());
}

TEST_F(Sources, RecogniseTheWidthOfTokens) {
  std::vector<uint16_t> narrow, tiny;
  std::vector<uint32_t> wide, small;
  for (uint32_t i = 0; i < 1000; ++i) {
    uint32_t random = uint32_t(draw(1, i));
    narrow.push_back(random % 50257), tiny.push_back(random % 5);
    wide.push_back(random % 128256), small.push_back(random % 50257);
  }
  auto widthFor = [&](const std::string &bytes, int64_t vocab) { return recognizeWidth(write("t.bin", bytes), vocab); };
  EXPECT_EQ(widthFor(bytesOf(narrow), 50257), 2);
  EXPECT_EQ(widthFor(bytesOf(narrow), 65536), 2);
  EXPECT_EQ(widthFor(bytesOf(tiny), 5), 2);
  EXPECT_EQ(widthFor(bytesOf(tiny) + "ab", 50257), 2) << "an odd number of tokens";
  EXPECT_EQ(widthFor(bytesOf(wide), 128256), 4);
  EXPECT_EQ(widthFor(bytesOf(small), 50257), 4);
  EXPECT_EQ(widthFor(bytesOf(small), 128256), 4);
  EXPECT_EQ(widthFor(std::string(400, '\0'), 256), 2);
  expectError([&] { widthFor(bytesOf(narrow), 128256); },
              "a vocab of 128256 does not fit into uint16, and as uint32 its first tokens reach ");
  expectError([&] { widthFor(bytesOf(wide), 100000); }, "fix: --token-type uint16 or uint32");
  expectError([&] { widthFor(bytesOf(wide), 65536); }, "look like uint32 up to 1281");
  expectError([&] { widthFor(bytesOf(small), 32000); }, "outside the model's vocab 32000");
}

TEST_F(Sources, TakeSeveralTokenFilesAsShards) {
  write("s/b.bin", bytesOf<uint16_t>({3, 4})), write("s/a.bin", bytesOf<uint16_t>({1, 2, 300})),
      write("s/c.bin", bytesOf<uint32_t>({5, 6}));
  Corpus corpus = openCorpus({folder / "s"}, "", 512, true);
  EXPECT_EQ(tokensOf(corpus.train), (std::vector<int32_t>{1, 2, 300, 3, 4, 5, 6}));
  EXPECT_FALSE(corpus.held_out);
  EXPECT_NE(corpus.name.find("s (3 token files of uint16, uint32)"), std::string::npos) << corpus.name;
  std::array<int32_t, 7> ids;
  corpus.train.readDocuments(0, ids);
  EXPECT_EQ(ids, (std::array<int32_t, 7>{0, 0, 0, 1, 1, 2, 2}));
  expectError([&] { tokensOf(corpus.train, 6); }, "a.bin: token 300 at position 2");
  std::array<int32_t, 2> across;
  corpus.train.read(2, 512, across);
  EXPECT_EQ(across, (std::array<int32_t, 2>{300, 3}));
  Corpus named = openCorpus({folder / "s/b.bin", folder / "s/a.bin", folder / "s/b.bin"}, "", 512, true);
  EXPECT_EQ(tokensOf(named.train), (std::vector<int32_t>{1, 2, 300, 3, 4}));
  write("t/tokens.dat", bytesOf<uint32_t>({7, 8}));
  EXPECT_EQ(tokensOf(openCorpus({folder / "s/b.bin", folder / "t/tokens.dat"}, "uint16", 512, true).train),
            (std::vector<int32_t>{3, 4, 7, 0, 8, 0}));
}

TEST_F(Sources, RefuseTokenFilesBesideBytes) {
  write("d/a.txt", "text"), write("d/train.bin", bytesOf<uint16_t>({1, 2}));
  std::string words =
      "d/train.bin is a token file, " + (folder / "d/a.txt").string() + " would be read as bytes; fix: name token files alone";
  expectError([&] { openCorpus({folder / "d"}, "", 256, true); }, words);
  expectError([&] { openCorpus({folder / "d/train.bin", folder / "d/a.txt"}, "", 256, true); }, words);
  expectError([&] { openCorpus({folder / "d"}, "uint16", 256, true); }, words);
  fs::remove(folder / "d/train.bin");
  expectError([&] { openCorpus({folder / "d"}, "uint16", 256, true); }, "--token-type is for token files, and none is named");
}

TEST_F(Sources, RefuseTokensOfAnotherKindByName) {
  std::string array = "\x93NUMPY" + std::string(200, '\1'), index = Index().bytes();
  std::string headed = number<int32_t>(20240520) + std::string(2000, '\1'), other = number<int32_t>(20240801) + std::string(2000, '\1');
  auto refused = [&](const std::string &name, const std::string &bytes, const std::string &words) {
    expectError([&] { openCorpus({write(name, bytes)}, "", 50257, true); }, words);
  };
  refused("a.npy", array, "a.npy: is not read as bytes, it is a NumPy array; fix:");
  refused("b.bin", array, "b.bin: is not plain tokens, it is a NumPy array; fix:");
  refused("c.idx", index, "c.idx: is not read as bytes, it is an index of Megatron; fix: name the .bin beside it");
  refused("d.bin", headed, "d.bin: is not plain tokens, it is a token file of llm.c, with a header; fix:");
  refused("e.bin", other, "llm.c");
  refused("f.tokens", headed, "f.tokens: is not read as bytes, it is a token file of llm.c");
}

// Megatron.

TEST_F(Sources, ReadMegatronsIndex) {
  fs::path bin = write("d.bin", bytesOf<uint16_t>({7, 300, 9}));
  Index index = {.lengths = {1, 0, 2}, .pointers = {0, 2, 2}, .groups = {0, 1, 3}, .sequence_count = {}, .group_count = {}};
  fs::path idx = write("d.idx", index.bytes());
  for (const std::vector<fs::path> &paths : {std::vector{bin}, {bin, idx}, {folder}}) {
    Corpus corpus = openCorpus(paths, "", 512, true);
    EXPECT_EQ(tokensOf(corpus.train, 301), (std::vector<int32_t>{7, 300, 9}));
    std::array<int32_t, 3> ids;
    corpus.train.readDocuments(0, ids);
    EXPECT_EQ(ids, (std::array<int32_t, 3>{0, 1, 1}));
  }
  write("d.idx", index.bytes() + std::string(3, '\0')); // modes of multimodal data
  EXPECT_EQ(Source::fromMegatron(bin, idx).size(), 3);
  expectError([&] { openCorpus({bin}, "uint32", 512, true); }, "d.idx: says that the tokens are uint16, --token-type says uint32");
  EXPECT_EQ(openCorpus({bin}, "uint16", 512, true).train.size(), 3);
  fs::resize_file(bin, 4);
  index.lengths = {1, 0, 1};
  write("d.idx", index.bytes());
  Source source = Source::fromMegatron(bin, idx);
  fs::resize_file(bin, 2);
  expectError([&] { tokensOf(source); }, "d.bin: has 2 bytes, it had 4 when it was opened: it was truncated");
}

TEST_F(Sources, ReadNegativeTokensOfMegatronAsSuch) {
  fs::path bin = write("d.bin", bytesOf<int16_t>({7, -1}));
  fs::path idx =
      write("d.idx", Index{.type = 3, .lengths = {2}, .pointers = {0}, .groups = {0, 1}, .sequence_count = {}, .group_count = {}}.bytes());
  expectError([&] { tokensOf(Source::fromMegatron(bin, idx), 65536); }, "d.bin: token -1 at position 1 is outside the model's vocab 65536");
}

TEST_F(Sources, RefuseIndexesOfMegatronThatDoNotFit) {
  fs::path bin = write("d.bin", bytesOf<uint16_t>({7, 300, 9}));
  const Index good = {.lengths = {1, 2}, .pointers = {0, 2}, .groups = {0, 1, 2}, .sequence_count = {}, .group_count = {}};
  auto refused = [&](const std::function<void(Index &)> &change, const std::string &words) {
    Index index = good;
    change(index);
    fs::path idx = write("d.idx", index.bytes());
    expectError([&] { Source::fromMegatron(bin, idx); }, words);
  };
  refused([](Index &index) { index.pointers = {2, 0}; },
          "d.idx: sequence 0 starts at byte 2, those before it end at 0; fix: make the index again");
  refused([](Index &index) { index.pointers = {0, 0}; }, "sequence 1 starts at byte 0, those before it end at 2");
  refused([](Index &index) { index.pointers = {0, 1000}; }, "sequence 1 starts at byte 1000, those before it end at 2");
  refused([](Index &index) { index.pointers = {0, -2}; }, "sequence 1 starts at byte -2");
  refused([](Index &index) { index.lengths = {3, -1}, index.pointers = {0, 6}; }, "sequence 1 has the length -1");
  refused([](Index &index) { index.lengths = {1, 5}; }, "d.bin: has 6 bytes, its index describes 6 tokens of 2");
  refused([](Index &index) { index.lengths = {1, 1}; }, "d.bin: has 6 bytes, its index describes 2 tokens of 2");
  refused([](Index &index) { index.groups = {0, 2, 1}; }, "document 2 starts at sequence 1 of 2, the one before it at 2");
  refused([](Index &index) { index.groups = {1, 1, 2}; }, "document 0 starts at sequence 1 of 2");
  refused([](Index &index) { index.groups = {0, 1, 1}; }, "document 2 starts at sequence 1 of 2");
  refused([](Index &index) { index.groups = {0, -1, 2}; }, "document 1 starts at sequence -1");
  refused([](Index &index) { index.groups = {0, 7, 2}; }, "document 1 starts at sequence 7");
  refused([](Index &index) { index.groups = {}; }, "cut off");
  refused([](Index &index) { index.pointers = {}, index.groups = {}; },
          "cut off after 42 bytes, its header says 2 sequences in 0 documents");
  refused([](Index &index) { index.sequence_count = uint64_t(1) << 62; }, "cut off");
  refused([](Index &index) { index.sequence_count = ~uint64_t(0); }, "cut off");
  refused([](Index &index) { index.group_count = ~uint64_t(0); }, "cut off");
  refused([](Index &index) { index.group_count = 2; }, "has 8 bytes after its 2 sequences in 2 documents");
  refused([](Index &index) { index.version = 2; }, "version 2 with type 8 cannot be read");
  for (int type : {0, 2, 5, 6, 7, 9})
    refused([type](Index &index) { index.type = uint8_t(type); }, "with type " + std::to_string(type) + " cannot be read");
  fs::path idx = write("d.idx", "something else altogether");
  expectError([&] { Source::fromMegatron(bin, idx); }, "is not a Megatron index");
  write("d.idx", good.bytes().substr(0, 20));
  expectError([&] { Source::fromMegatron(bin, idx); }, "cut off after 20 bytes");
  write("d.idx", "");
  expectError([&] { openCorpus({bin}, "", 512, true); }, "cut off after 0 bytes");
}

// What a checkpoint keeps.

TEST_F(Sources, AreKnownAgainByNamesSizesAndContent) {
  write("one/d/a", "aaa"), write("one/d/b/c", "c");
  fs::create_directory(folder / "two");
  fs::copy(folder / "one/d", folder / "two/other", fs::copy_options::recursive);
  auto fingerprint = [&](const char *where) { return openCorpus({folder / where}, "", 256, true).train.fingerprint(); };
  const Fingerprint before = fingerprint("one/d");
  EXPECT_EQ(before.at("files"), "2");
  EXPECT_EQ(before.at("bytes"), "4");
  EXPECT_EQ(before.at("type"), "uint8");
  EXPECT_EQ(fingerprint("two/other"), before) << "moved as a whole";
  auto differs = [&](std::vector<std::string> fields) {
    Fingerprint now = fingerprint("one/d");
    for (const auto &[field, value] : before)
      EXPECT_EQ(now.at(field) != value, std::ranges::count(fields, field) == 1) << field;
  };
  write("one/d/a", "aba");
  differs({"content"});
  write("one/d/a", "aa"), write("one/d/b/c", "ac");
  differs({"names", "content"}); // the same bytes, otherwise divided
  write("one/d/a", "aaa"), write("one/d/b/c", "c"), write("one/d/new", "");
  differs({"files", "names", "content"});
  fs::remove(folder / "one/d/new"), fs::rename(folder / "one/d/a", folder / "one/d/A");
  differs({"names"});
}

TEST_F(Sources, AreKnownAgainWhereTheyAreLarge) {
  std::string bytes;
  for (int64_t i = 0; i < 2'000'000; ++i)
    bytes += char(draw(1, uint64_t(i)));
  fs::path file = write("t.bin", bytes);
  Fingerprint before = Source::fromTokens(file, 2).fingerprint();
  EXPECT_EQ(Source::fromTokens(file, 2).fingerprint(), before);
  EXPECT_NE(Source::fromTokens(file, 4).fingerprint().at("type"), before.at("type"));
  for (size_t at : {size_t(0), size_t(70'000), bytes.size() - 1}) { // in the first piece, between pieces, in the last one
    std::string changed = bytes;
    changed[at] ^= 1;
    write("t.bin", changed);
    EXPECT_EQ(Source::fromTokens(file, 2).fingerprint() == before, at == 70'000);
  }
}

TEST_F(Sources, RefusesBytesForASmallVocabulary) {
  fs::path file = write("a", "aa");
  expectError([&] { openCorpus({file}, "", 64, true); }, "at least 256, the model has 64");
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

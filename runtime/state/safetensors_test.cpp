#include "runtime/core/Bfloat16.h"
#include "runtime/state/Safetensors.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace megacc::runtime;
namespace fs = std::filesystem;

namespace {

std::atomic<bool> folders_cannot_be_synced, fail_after_first_folder;
std::vector<std::string> synced; // "file NAME" or "folder NAME", in order

} // namespace

// Every fsync of the process comes through here.
extern "C" int fsync(int file) {
  struct stat about = {};
  char name[4096] = "";
  if (::fstat(file, &about) != 0 || ::readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), name, sizeof name - 1) < 0)
    return -1;
  synced.push_back((S_ISDIR(about.st_mode) ? "folder " : "file ") + fs::path(name).filename().string());
  bool is_second = fail_after_first_folder && std::ranges::count_if(synced, [](auto &name) { return name.starts_with("folder"); }) > 1;
  if (S_ISDIR(about.st_mode) && (folders_cannot_be_synced || is_second)) {
    errno = EIO;
    return -1;
  }
  return int(::syscall(SYS_fsync, file));
}

namespace {

int64_t countOpenFiles() { return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()); }

class Safetensors : public testing::Test {
protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "safetensors-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override {
    folders_cannot_be_synced = false;
    fs::remove_all(folder);
  }

  /// A file with this header and as many bytes of tensors.
  fs::path write(const std::string &header, size_t data) {
    uint64_t length = header.size();
    std::ofstream(folder / "made", std::ios::binary)
        << std::string(reinterpret_cast<char *>(&length), 8) << header << std::string(data, 'd');
    return folder / "made";
  }

  std::string errorOf(const fs::path &path) {
    try {
      SafetensorsFile(path).verify();
    } catch (const FileError &error) {
      return error.what();
    }
    return "";
  }

  fs::path folder;
};

} // namespace

TEST_F(Safetensors, ReadsWhatItWrote) {
  std::vector<float> scalar = {1.0f}, matrix = {1, 2, 3, 4, 5, 6};
  std::vector<int64_t> empty;
  writeSafetensors(folder / "a", {{"scalar", viewOf(scalar, {})}, {"empty", viewOf(empty, {0, 3})}, {"matrix", viewOf(matrix, {2, 3})}},
                   {{"model", "tiny"}});
  SafetensorsFile file(folder / "a");
  file.verify();
  ASSERT_EQ(file.entries().size(), 3u);
  EXPECT_EQ(file.entries().at("matrix").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.metadata().at("model"), "tiny");
  std::vector<float> back(6);
  file.read("matrix", "F32", std::as_writable_bytes(std::span(back)));
  EXPECT_EQ(back, matrix);
  EXPECT_THROW(file.read("matrix", "F32", std::as_writable_bytes(std::span(back).first(5))), FileError);
  EXPECT_THROW(file.read("vector", "F32", std::as_writable_bytes(std::span(back))), FileError);
  EXPECT_FALSE(fs::exists(folder / "a.partial"));
}

TEST_F(Safetensors, WritesAndReadsLargeTensorsInParts) {
  std::vector<uint64_t> offsets;
  int64_t count = part_bytes / 2 + 3;
  auto half = [](uint64_t index) { return uint16_t(0x4000 + index % 251); };
  TensorSource source = {"BF16", {count}, [&](uint64_t offset, std::span<std::byte> target) {
                           offsets.push_back(offset);
                           for (size_t at = 0; at < target.size(); at += 2) {
                             uint16_t value = half((offset + at) / 2);
                             std::memcpy(target.data() + at, &value, 2);
                           }
                         }};
  writeSafetensors(folder / "a", {{"w", source}});
  EXPECT_EQ(offsets, (std::vector<uint64_t>{0, part_bytes}));
  SafetensorsFile file(folder / "a");
  file.verify();
  std::vector<float> back(5);
  file.readFloats("w", count - 5, back);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(back[i], fromBfloat16(half(count - 5 + i)));
  EXPECT_THROW(file.readFloats("w", count - 4, back), FileError);
}

TEST(Bfloat16, RoundsToNearestEven) {
  for (auto [value, bits] : {std::pair{1.0f, 0x3F80}, {1.00390625f, 0x3F80}, {1.01171875f, 0x3F82}, {1.0040f, 0x3F81}, {-0.0f, 0x8000}})
    EXPECT_EQ(toBfloat16(value), bits) << value;
  EXPECT_EQ(toBfloat16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_TRUE(std::isnan(fromBfloat16(toBfloat16(std::numeric_limits<float>::signaling_NaN()))));
}

TEST_F(Safetensors, RefusesTruncatedAndMissingFiles) {
  std::vector<float> values(4);
  writeSafetensors(folder / "a", {{"w", viewOf(values, {4})}});
  fs::resize_file(folder / "a", fs::file_size(folder / "a") - 1);
  EXPECT_NE(errorOf(folder / "a").find("truncated"), std::string::npos);
  std::ofstream(folder / "b") << "not a tensor file";
  EXPECT_NE(errorOf(folder / "b").find("is not a safetensors file"), std::string::npos);
  EXPECT_NE(errorOf(folder / "c").find("cannot open"), std::string::npos);
}

TEST_F(Safetensors, FindsEveryChangedByte) {
  std::vector<float> values = {1, 2};
  writeSafetensors(folder / "a", {{"w", viewOf(values, {2})}}, {{"lr", "0.1"}});
  std::ifstream in(folder / "a", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] ^= 1;
    std::ofstream(folder / "b", std::ios::binary) << changed;
    EXPECT_NE(errorOf(folder / "b"), "") << "byte " << at;
  }
}

TEST_F(Safetensors, KeepsTheOldFileWhenWritingFails) {
  EXPECT_THROW(writeSafetensors(folder / "missing" / "a", {}), FileError);
  fs::create_directory(folder / "taken");
  EXPECT_THROW(writeSafetensors(folder / "taken", {}), FileError);
  EXPECT_FALSE(fs::exists(folder / "taken.partial"));
}

TEST_F(Safetensors, HasAHashOfEveryTensor) {
  std::vector<float> values = {1, 2};
  writeSafetensors(folder / "a", {{"one", viewOf(values, {2})}, {"two", viewOf(values, {2})}});
  Metadata metadata = SafetensorsFile(folder / "a").metadata();
  EXPECT_EQ(metadata.at("xxh3_128.one"), metadata.at("xxh3_128.two"));
  std::fstream(folder / "a", std::ios::in | std::ios::out | std::ios::binary).seekp(-1, std::ios::end) << 'x';
  std::string error = errorOf(folder / "a");
  EXPECT_NE(error.find("is altered: its hash is "), std::string::npos) << error;
  EXPECT_NE(error.find("(two)"), std::string::npos) << error;
}

TEST_F(Safetensors, RefusesTensorsThatOverlapOrLeaveGaps) {
  auto entry = [](const char *name, int count, int begin, int end) {
    return std::string("\"") + name + R"(":{"dtype":"F32","shape":[)" + std::to_string(count) + R"(],"data_offsets":[)" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  auto refused = [&](const std::string &one, const std::string &other, const std::string &words) {
    std::string error = errorOf(write("{" + one + "," + other + "}", 16));
    EXPECT_NE(error.find(words), std::string::npos) << error << "; expected: " << words;
  };
  refused(entry("a", 2, 0, 8), entry("b", 2, 8, 16), "has no hash"); // and is good otherwise
  refused(entry("b", 2, 8, 16), entry("a", 2, 0, 8), "has no hash");
  refused(entry("a", 2, 0, 8), entry("b", 3, 4, 16), "'b' starts at byte 4, the tensors before it end at 8: they overlap");
  refused(entry("a", 4, 0, 16), entry("b", 1, 4, 8), "'b' starts at byte 4, the tensors before it end at 16: they overlap");
  refused(entry("a", 4, 0, 16), entry("b", 4, 0, 16), "'b' starts at byte 0, the tensors before it end at 16: they overlap");
  refused(entry("a", 1, 0, 4), entry("b", 2, 8, 16), "'b' starts at byte 8, the tensors before it end at 4: there is a gap");
  refused(entry("a", 1, 4, 8), entry("b", 2, 8, 16), "'a' starts at byte 4, the tensors before it end at 0: there is a gap");
  refused(entry("a", 1, 0, 4), entry("b", 2, 4, 12), "holds 16 bytes of tensors, its header describes 12");
  refused(entry("a", 1, 0, 4), entry("b", 4, 4, 20), "'b' needs 16 bytes at 4 to 20, the file holds 16; it is truncated or altered");
  refused(entry("a", 2, 0, 8), entry("a", 2, 8, 16), "has a damaged header");
  refused(entry("a", 0, 0, 0), entry("b", 4, 0, 16), "has no hash");
}

TEST_F(Safetensors, RefusesEntriesThatNoWriterMakes) {
  for (const char *entry : {R"({"dtype":"F32","shape":[-1],"data_offsets":[0,8]})",
                            R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})",
                            R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})",
                            R"({"dtype":"F32","shape":[2],"data_offsets":[0,8.0]})",
                            R"({"dtype":"F32","shape":[2],"data_offsets":[0]})",
                            R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,8]})",
                            R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})",
                            R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})",
                            R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})",
                            R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})",
                            R"({"shape":[2],"data_offsets":[0,8]})",
                            R"({"dtype":"F32","data_offsets":[0,8]})",
                            R"({"dtype":"F32","shape":[2]})",
                            "null",
                            "[]",
                            "3",
                            R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})",
                            R"({"dtype":"F32","shape":[4611686018427387905,2],"data_offsets":[0,8]})",
                            R"({"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,0]})",
                            R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})",
                            R"({"dtype":"F16","shape":[4],"data_offsets":[0,8]})",
                            R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})",
                            R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})"}) {
    std::string error = errorOf(write(std::string("{\"w\":") + entry + "}", 8));
    EXPECT_NE(error, "") << entry;
    EXPECT_EQ(error.find("has no hash"), std::string::npos) << entry << ": " << error;
  }
  for (const char *header : {"", "[]", "{", "null", R"({"__metadata__":{"a":1}})", R"({"__metadata__":{"a":"1","a":"2"}})", "\xff"})
    EXPECT_NE(errorOf(write(header, 0)).find("damaged"), std::string::npos) << header;
}

TEST_F(Safetensors, BoundsTheHeaderBeforeReadingIt) {
  write("{}", 0);
  uint64_t length = uint64_t(3) << 30;
  std::fstream(folder / "made", std::ios::in | std::ios::out | std::ios::binary).write(reinterpret_cast<char *>(&length), 8);
  EXPECT_NE(errorOf(folder / "made").find("10 bytes, its header needs 3221225472"), std::string::npos);
  fs::resize_file(folder / "made", 8 + length); // without using the space
  std::string error = errorOf(folder / "made");
  EXPECT_NE(error.find("its header has 3221225472 bytes, at most 100000000 are allowed"), std::string::npos) << error;
  error = errorOf(write("{\"w\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}", 0));
  EXPECT_NE(error.find("has a damaged header"), std::string::npos) << error;
}

TEST_F(Safetensors, OpensAndReplacesRegularFilesAlone) {
  fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_NE(errorOf(pipe).find("cannot open: it is not a file"), std::string::npos);
  EXPECT_NE(errorOf(folder).find("cannot open: it is not a file"), std::string::npos);
  EXPECT_THROW(writeSafetensors(pipe, {}), FileError);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_FALSE(fs::exists(folder / "pipe.partial"));
}

TEST_F(Safetensors, SyncsTheFileAndItsFolderBeforeAndAfterTheRename) {
  synced.clear();
  writeSafetensors(folder / "a", {}, {}, [] { synced.push_back("ready"); });
  std::string here = "folder " + folder.filename().string();
  EXPECT_EQ(synced, (std::vector<std::string>{"file a.partial", "ready", here, here}));
}

TEST_F(Safetensors, SaysWhichFileIsThereAfterAFailedSyncAndLeaksNothing) {
  std::vector<float> one = {1}, two = {2};
  writeSafetensors(folder / "a", {{"w", viewOf(one, {1})}});
  int64_t open = countOpenFiles();
  auto failure = [&](auto &&arm) {
    try {
      writeSafetensors(folder / "a", {{"w", viewOf(two, {1})}}, {}, arm);
    } catch (const FileError &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  auto stored = [&] {
    std::vector<float> value(1);
    SafetensorsFile(folder / "a").readFloats("w", 0, value);
    return value[0];
  };
  // Before the rename: the old file stays.
  std::string error = failure([] { folders_cannot_be_synced = true; });
  EXPECT_NE(error.find(folder.string() + ": cannot sync the folder: Input/output error"), std::string::npos) << error;
  EXPECT_EQ(stored(), 1);
  EXPECT_FALSE(fs::exists(folder / "a.partial"));
  // After it: the new one is there. The first sync of the folder goes through.
  folders_cannot_be_synced = false;
  synced.clear();
  fail_after_first_folder = true;
  error = failure([] {});
  fail_after_first_folder = false;
  EXPECT_NE(error.find("a: the new file is in its place, and may be lost if the machine stops now"), std::string::npos) << error;
  EXPECT_EQ(stored(), 2);
  EXPECT_EQ(countOpenFiles(), open);
}

TEST_F(Safetensors, SyncsTheParentOfEveryNewFolder) {
  fs::create_directory(folder / "a");
  synced.clear();
  createFolders(folder / "a/b/c/");
  EXPECT_TRUE(fs::is_directory(folder / "a/b/c"));
  EXPECT_EQ(synced, (std::vector<std::string>{"folder a", "folder b"}));
  synced.clear();
  createFolders(folder / "a/b");
  EXPECT_TRUE(synced.empty());
  std::ofstream(folder / "file") << "text";
  EXPECT_THROW(createFolders(folder / "file"), FileError);
  EXPECT_THROW(createFolders(folder / "file/below"), FileError);
  folders_cannot_be_synced = true;
  int64_t open = countOpenFiles();
  EXPECT_THROW(createFolders(folder / "d"), FileError);
  EXPECT_EQ(countOpenFiles(), open);
}

TEST(WriteErrors, SayWhatHelps) {
  EXPECT_EQ(describeWriteError(ENOSPC), "No space left on device; fix: free some space, then --resume");
  EXPECT_EQ(describeWriteError(EFBIG), "File too large; fix: allow larger files (ulimit -f), then --resume");
  for (int error : {EACCES, EROFS, EPERM})
    EXPECT_NE(describeWriteError(error).find("; fix: make the folder writable, or name another"), std::string::npos);
}

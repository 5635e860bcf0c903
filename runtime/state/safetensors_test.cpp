#include "runtime/core/Bfloat16.h"
#include "runtime/state/Safetensors.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>

using namespace megacc::runtime;
namespace fs = std::filesystem;

namespace {

class Safetensors : public testing::Test {
protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "safetensors-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

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
  EXPECT_NE(errorOf(folder / "b").find("no safetensors file"), std::string::npos);
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

#include "runtime/state/Safetensors.h"

#include <cstdlib>
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
      readSafetensors(path);
    } catch (const FileError &error) {
      return error.what();
    }
    return "";
  }

  fs::path folder;
};

} // namespace

TEST_F(Safetensors, ReadsWhatItWrote) {
  std::map<std::string, Tensor> tensors;
  tensors["scalar"] = {"F32", {}, {0, 0, 128, 63}};
  tensors["empty"] = {"I64", {0, 3}, {}};
  tensors["matrix"] = {"I32", {1, 2}, {1, 0, 0, 0, 2, 0, 0, 0}};
  writeSafetensors(folder / "a", tensors);
  auto read = readSafetensors(folder / "a");
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read["matrix"].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(read["matrix"].bytes, tensors["matrix"].bytes);
  EXPECT_EQ(read["scalar"].bytes, tensors["scalar"].bytes);
  EXPECT_FALSE(fs::exists(folder / "a.partial"));
}

TEST_F(Safetensors, RefusesTruncatedAlteredAndMissingFiles) {
  writeSafetensors(folder / "a", {{"w", {"F32", {4}, std::vector<unsigned char>(16)}}});
  fs::resize_file(folder / "a", fs::file_size(folder / "a") - 1);
  EXPECT_NE(errorOf(folder / "a").find("truncated"), std::string::npos);
  std::ofstream(folder / "b") << "not a tensor file";
  EXPECT_NE(errorOf(folder / "b").find("no safetensors file"), std::string::npos);
  EXPECT_NE(errorOf(folder / "c").find("cannot open"), std::string::npos);
}

TEST_F(Safetensors, KeepsTheOldFileWhenWritingFails) {
  EXPECT_THROW(writeSafetensors(folder / "missing" / "a", {}), FileError);
  fs::create_directory(folder / "taken");
  EXPECT_THROW(writeSafetensors(folder / "taken", {}), FileError);
  EXPECT_FALSE(fs::exists(folder / "taken.partial"));
}

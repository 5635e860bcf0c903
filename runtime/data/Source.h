// Where tokens come from, conventions section 18: token files, or files and folders read as bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace megacc::runtime {

struct DataError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A stretch of a source that one file provides.
struct SourceFile {
  std::filesystem::path path;
  int64_t begin; // first token
};

/// A sequence of tokens, concatenated from files without separators.
class Source {
public:
  /// Regular files among `paths` and below folders, sorted by the bytes of their path; a token is a byte.
  static std::vector<std::filesystem::path> listFiles(const std::vector<std::filesystem::path> &paths);
  static Source fromBytes(const std::vector<std::filesystem::path> &files);
  /// A token file of `width` bytes a token: 2 (uint16) or 4 (uint32), little-endian.
  static Source fromTokens(const std::filesystem::path &file, int width);

  int64_t size() const { return int64_t(data.size()) / width; }
  /// Copies tokens [begin, begin + tokens.size()); a token of `vocab` or more is an error with its value, file and position.
  void read(int64_t begin, int64_t vocab, std::span<int32_t> tokens) const;

private:
  std::vector<unsigned char> data;
  std::vector<SourceFile> files;
  int width = 1;
};

/// Files to train on and files held out: those whose index in the sorted list mod 20 is 7. Fewer than 8 files: nothing is held out.
struct Split {
  std::vector<std::filesystem::path> train, held_out;
};
Split splitFiles(const std::vector<std::filesystem::path> &files);

/// First token of sample n of the stream, over the global batch; the sample reads sequence + 1 tokens. Throws DataError where the
/// source is too short.
int64_t samplePosition(uint64_t seed, const char *stream, int64_t n, int64_t source_size, int64_t sequence);

} // namespace megacc::runtime

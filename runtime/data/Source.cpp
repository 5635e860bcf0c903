#include "runtime/data/Source.h"
#include "runtime/state/Random.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace fs = std::filesystem;

namespace megacc::runtime {
namespace {

void append(std::vector<unsigned char> &data, const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  uint64_t size = fs::file_size(path, error);
  if (!file || error)
    throw DataError(path.string() + ": cannot open: " + (error ? error.message() : std::strerror(errno)) + "; fix: check --data");
  size_t begin = data.size();
  data.resize(begin + size);
  if (size && !file.read(reinterpret_cast<char *>(data.data() + begin), size))
    throw DataError(path.string() + ": cannot read its " + std::to_string(size) + " bytes");
}

} // namespace

std::vector<fs::path> Source::listFiles(const std::vector<fs::path> &paths) {
  std::vector<fs::path> files;
  for (const fs::path &path : paths) {
    std::error_code error;
    fs::file_status status = fs::status(path, error);
    if (fs::is_directory(status)) {
      auto walk = fs::recursive_directory_iterator(path, error);
      for (; !error && walk != fs::recursive_directory_iterator(); walk.increment(error))
        if (walk->is_regular_file(error) && !error)
          files.push_back(walk->path());
      if (error)
        throw DataError(path.string() + ": cannot list: " + error.message());
    } else if (fs::is_regular_file(status)) {
      files.push_back(path);
    } else {
      throw DataError(path.string() + ": there is no such file or folder; fix: check --data");
    }
  }
  std::sort(files.begin(), files.end(), [](const fs::path &a, const fs::path &b) { return a.native() < b.native(); });
  return files;
}

Source Source::fromBytes(const std::vector<fs::path> &files) {
  Source source;
  for (const fs::path &path : files) {
    source.files.push_back({path, int64_t(source.data.size())});
    append(source.data, path);
  }
  if (source.data.empty())
    throw DataError((files.empty() ? "the data" : files.front().string()) + ": has no bytes; fix: name files or folders with content");
  return source;
}

Source Source::fromTokens(const fs::path &file, int width) {
  if (width != 2 && width != 4)
    throw DataError("a token has 2 or 4 bytes, not " + std::to_string(width) + "; fix: --token-type uint16 or uint32");
  Source source;
  source.width = width;
  source.files.push_back({file, 0});
  append(source.data, file);
  if (source.data.empty())
    throw DataError(file.string() + ": the token file is empty");
  if (source.data.size() % width)
    throw DataError(file.string() + ": " + std::to_string(source.data.size()) + " bytes are no whole number of " + std::to_string(width) +
                    "-byte tokens; fix: check --token-type");
  return source;
}

void Source::read(int64_t begin, int64_t vocab, std::span<int32_t> tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    uint32_t token = 0;
    std::memcpy(&token, data.data() + (begin + int64_t(i)) * width, width);
    if (int64_t(token) >= vocab) {
      int64_t position = begin + int64_t(i);
      auto next = std::upper_bound(files.begin(), files.end(), position, [](int64_t at, const SourceFile &file) { return at < file.begin; });
      const SourceFile &file = *std::prev(next);
      throw DataError(file.path.string() + ": token " + std::to_string(token) + " at position " + std::to_string(position - file.begin) +
                      " is outside the model's vocab " + std::to_string(vocab) + "; fix: check --token-type, or tokenize for this model");
    }
    tokens[i] = int32_t(token);
  }
}

Split splitFiles(const std::vector<fs::path> &files) {
  Split split;
  for (size_t i = 0; i < files.size(); ++i)
    (files.size() >= 8 && i % 20 == 7 ? split.held_out : split.train).push_back(files[i]);
  return split;
}

int64_t samplePosition(uint64_t seed, const char *stream, int64_t n, int64_t source_size, int64_t sequence) {
  if (source_size <= sequence)
    throw DataError("the data has " + std::to_string(source_size) + " tokens, a sample of sequence " + std::to_string(sequence) + " needs " +
                    std::to_string(sequence + 1) + "; fix: give more data or a model with a shorter sequence");
  return int64_t(draw(streamKey(seed, stream), uint64_t(n)) % uint64_t(source_size - sequence));
}

} // namespace megacc::runtime

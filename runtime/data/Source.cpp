#include "runtime/data/Source.h"
#include "runtime/state/Random.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace megacc::runtime {
namespace {

std::string systemError() { return std::strerror(errno); }

/// A file as memory; pages are read when they are touched.
struct Mapping {
  std::shared_ptr<const void> owner;
  std::span<const unsigned char> bytes;
};

Mapping mapFile(const fs::path &path) {
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat about = {};
  if (file < 0 || ::fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
    std::string reason = file < 0 || !S_ISDIR(about.st_mode) ? systemError() : "it is a folder";
    if (file >= 0)
      ::close(file);
    throw DataError(path.string() + ": cannot open: " + reason + "; fix: check --data");
  }
  size_t size = about.st_size;
  void *memory = size ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0) : nullptr;
  std::string reason = memory == MAP_FAILED ? systemError() : "";
  ::close(file);
  if (!reason.empty())
    throw DataError(path.string() + ": cannot map its " + std::to_string(size) + " bytes: " + reason);
  std::shared_ptr<const void> owner(memory, [size](const void *address) {
    if (address)
      ::munmap(const_cast<void *>(address), size);
  });
  return {owner, {static_cast<const unsigned char *>(memory), size}};
}

void append(std::vector<unsigned char> &data, const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  uint64_t size = fs::file_size(path, error);
  if (!file || error)
    throw DataError(path.string() + ": cannot open: " + (error ? error.message() : systemError()) + "; fix: check --data");
  size_t begin = data.size();
  data.resize(begin + size);
  if (size && !file.read(reinterpret_cast<char *>(data.data() + begin), size))
    throw DataError(path.string() + ": cannot read its " + std::to_string(size) + " bytes");
}

/// Reads little-endian numbers of an index one after the other.
class IndexReader {
public:
  IndexReader(const fs::path &path, std::span<const unsigned char> bytes) : path(path), bytes(bytes) {}
  template <typename T> T next() {
    if (bytes.size() - at < sizeof(T))
      throw DataError(path.string() + ": the index is cut off after " + std::to_string(bytes.size()) + " bytes");
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    at += sizeof(T);
    return value;
  }

private:
  const fs::path &path;
  std::span<const unsigned char> bytes;
  size_t at = 0;
};

/// Bytes a token of a type number of a Megatron index; 0 for one that holds no tokens.
int megatronWidth(int code) { return code == 1 ? 1 : code == 3 || code == 8 ? 2 : code == 4 ? 4 : 0; }

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
  auto bytes = std::make_shared<std::vector<unsigned char>>();
  Source source;
  for (const fs::path &path : files) {
    source.documents.push_back({int64_t(bytes->size()), source.files.size()});
    source.files.push_back(path);
    append(*bytes, path);
  }
  if (bytes->empty())
    throw DataError((files.empty() ? "the data" : files.front().string()) + ": has no bytes; fix: name files or folders with content");
  source.data = *bytes;
  source.owner = std::move(bytes);
  return source;
}

Source Source::fromTokens(const fs::path &file, int width) {
  if (width != 2 && width != 4)
    throw DataError("a token has 2 or 4 bytes, not " + std::to_string(width) + "; fix: --token-type uint16 or uint32");
  Mapping mapping = mapFile(file);
  Source source;
  source.width = width;
  source.files.push_back(file);
  source.documents.push_back({0, 0});
  source.data = mapping.bytes;
  source.owner = std::move(mapping.owner);
  if (source.data.empty())
    throw DataError(file.string() + ": the token file is empty");
  if (source.data.size() % width)
    throw DataError(file.string() + ": " + std::to_string(source.data.size()) + " bytes are no whole number of " + std::to_string(width) +
                    "-byte tokens; fix: check --token-type");
  return source;
}

Source Source::fromMegatron(const fs::path &bin, const fs::path &idx) {
  Mapping index = mapFile(idx), tokens = mapFile(bin);
  IndexReader reader(idx, index.bytes);
  char magic[9];
  for (char &letter : magic)
    letter = reader.next<char>();
  if (std::memcmp(magic, "MMIDIDX\0\0", 9) != 0)
    throw DataError(idx.string() + ": is no Megatron index; fix: remove it to read " + bin.filename().string() + " as plain tokens");
  uint64_t version = reader.next<uint64_t>();
  int code = reader.next<uint8_t>(), width = megatronWidth(code);
  uint64_t sequences = reader.next<uint64_t>();
  reader.next<uint64_t>(); // documents, which group the sequences
  if (version != 1 || !width)
    throw DataError(idx.string() + ": version " + std::to_string(version) + " with type " + std::to_string(code) +
                    " cannot be read; known are version 1 with types 1 (uint8), 3 (int16), 4 (int32) and 8 (uint16)");
  Source source;
  source.width = width;
  source.files.push_back(bin);
  int64_t begin = 0;
  for (uint64_t sequence = 0; sequence < sequences; ++sequence) {
    int32_t length = reader.next<int32_t>();
    if (length > 0)
      source.documents.push_back({begin, 0});
    begin += std::max(length, 0);
  }
  if (begin * width != int64_t(tokens.bytes.size()))
    throw DataError(bin.string() + ": has " + std::to_string(tokens.bytes.size()) + " bytes, its index describes " + std::to_string(begin) +
                    " tokens of " + std::to_string(width) + "; fix: one of the two is from another data set");
  if (begin == 0)
    throw DataError(bin.string() + ": the token file is empty");
  source.data = tokens.bytes;
  source.owner = std::move(tokens.owner);
  return source;
}

size_t Source::findDocument(int64_t position) const {
  auto next = std::upper_bound(documents.begin(), documents.end(), position,
                               [](int64_t at, const Document &document) { return at < document.begin; });
  return size_t(next - documents.begin()) - 1;
}

void Source::read(int64_t begin, int64_t vocab, std::span<int32_t> tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    uint32_t token = 0;
    int64_t position = begin + int64_t(i);
    std::memcpy(&token, data.data() + position * width, width);
    if (int64_t(token) >= vocab) {
      size_t file = documents[findDocument(position)].file;
      auto first = std::find_if(documents.begin(), documents.end(), [&](const Document &document) { return document.file == file; });
      throw DataError(files[file].string() + ": token " + std::to_string(token) + " at position " +
                      std::to_string(position - first->begin) + " is outside the model's vocab " + std::to_string(vocab) +
                      "; fix: check --token-type, or tokenize for this model");
    }
    tokens[i] = int32_t(token);
  }
}

void Source::readDocuments(int64_t begin, std::span<int32_t> ids) const {
  size_t document = findDocument(begin);
  for (size_t i = 0; i < ids.size(); ++i) {
    while (document + 1 < documents.size() && documents[document + 1].begin <= begin + int64_t(i))
      ++document;
    ids[i] = int32_t(document);
  }
}

Corpus openCorpus(const std::vector<fs::path> &paths, const std::string &token_type, int64_t vocab, bool split) {
  std::string name = paths.size() == 1 ? paths.front().string() : std::to_string(paths.size()) + " paths";
  if (paths.size() == 1 && (paths.front().extension() == ".bin" || !token_type.empty())) {
    fs::path idx = fs::path(paths.front()).replace_extension(".idx");
    std::error_code error;
    if (token_type.empty() && fs::exists(idx, error))
      return {Source::fromMegatron(paths.front(), idx), std::nullopt, name};
    return {Source::fromTokens(paths.front(), token_type == "uint32" ? 4 : 2), std::nullopt, name};
  }
  if (!token_type.empty())
    throw DataError("--token-type is for one token file, but " + std::to_string(paths.size()) + " paths are given; fix: name one file");
  if (vocab < 256)
    throw DataError("files read as bytes need a vocab of at least 256, the model has " + std::to_string(vocab) +
                    "; fix: a token file (.bin), or a model with vocab 256");
  Split parts = splitFiles(Source::listFiles(paths));
  if (!split || parts.held_out.empty()) {
    parts.train.insert(parts.train.end(), parts.held_out.begin(), parts.held_out.end());
    std::sort(parts.train.begin(), parts.train.end(), [](const fs::path &a, const fs::path &b) { return a.native() < b.native(); });
    return {Source::fromBytes(parts.train), std::nullopt, name};
  }
  return {Source::fromBytes(parts.train), Source::fromBytes(parts.held_out), name};
}

Split splitFiles(const std::vector<fs::path> &files) {
  Split split;
  for (size_t i = 0; i < files.size(); ++i)
    (files.size() >= 8 && i % 20 == 7 ? split.held_out : split.train).push_back(files[i]);
  return split;
}

int64_t samplePosition(uint64_t seed, const char *stream, int64_t n, int64_t source_size, int64_t sequence) {
  if (source_size <= sequence)
    throw DataError("the data has " + std::to_string(source_size) + " tokens, a sample of sequence " + std::to_string(sequence) +
                    " needs " + std::to_string(sequence + 1) + "; fix: give more data or a model with a shorter sequence");
  return int64_t(draw(streamKey(seed, stream), uint64_t(n)) % uint64_t(source_size - sequence));
}

} // namespace megacc::runtime

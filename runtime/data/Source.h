// Where tokens come from, conventions section 18: token files, or files and folders read as bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace megacc::runtime {

struct DataError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Where a document of a source begins: a file, or a sequence of a Megatron index.
struct Document {
  int64_t begin; // first token
  size_t file;   // index among the source's files
};

/// A sequence of tokens, concatenated from files without separators.
class Source {
public:
  /// Regular files among `paths` and below folders, sorted by the bytes of their path; a token is a byte.
  static std::vector<std::filesystem::path> listFiles(const std::vector<std::filesystem::path> &paths);
  static Source fromBytes(const std::vector<std::filesystem::path> &files);
  /// A token file of `width` bytes a token: 2 (uint16) or 4 (uint32), little-endian. It is one document.
  static Source fromTokens(const std::filesystem::path &file, int width);
  /// PREFIX.bin and PREFIX.idx as Megatron writes them: the index gives the type of the tokens and the sequences, each a document.
  static Source fromMegatron(const std::filesystem::path &bin, const std::filesystem::path &idx);

  int64_t size() const { return int64_t(data.size()) / width; }
  /// Copies tokens [begin, begin + tokens.size()); a token of `vocab` or more is an error with its value, file and position.
  void read(int64_t begin, int64_t vocab, std::span<int32_t> tokens) const;
  /// The number of the document of each of these tokens.
  void readDocuments(int64_t begin, std::span<int32_t> ids) const;

private:
  size_t findDocument(int64_t position) const;

  std::shared_ptr<const void> owner; // of data
  std::span<const unsigned char> data;
  std::vector<std::filesystem::path> files;
  std::vector<Document> documents;
  int width = 1;
};

/// Files to train on and files held out: those whose index in the sorted list mod 20 is 7. Fewer than 8 files: nothing is held out.
struct Split {
  std::vector<std::filesystem::path> train, held_out;
};
Split splitFiles(const std::vector<std::filesystem::path> &files);

/// What a run reads.
struct Corpus {
  Source train;
  std::optional<Source> held_out;
  std::string name; // for people
};

/// Opens what the user names (conventions 18.1-2): one token file (`.bin`, with an `.idx` beside it Megatron's), else files and folders as
/// bytes, of which some are held out. `token_type`: "uint16" or "uint32" for a token file, "" for the default. `vocab` is the model's.
Corpus openCorpus(const std::vector<std::filesystem::path> &paths, const std::string &token_type, int64_t vocab, bool split);

/// First token of sample n of the stream, over the global batch; the sample reads sequence + 1 tokens. Throws DataError where the
/// source is too short.
int64_t samplePosition(uint64_t seed, const char *stream, int64_t n, int64_t source_size, int64_t sequence);

} // namespace megacc::runtime

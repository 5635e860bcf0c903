// A sequence of tokens, conventions section 18: token files, or files that are read as bytes.
#pragma once
#include "runtime/data/Files.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace megacc::runtime {

class OpenFile;

/// What a checkpoint keeps of its data, to know it again: "files", "bytes", "names" (a hash of names and sizes), "type" of the tokens and
/// "content" (a hash). Names are relative to the folder that all files have in common, so that data may be moved as a whole.
using Fingerprint = std::map<std::string, std::string>;

/// What lies beside a token file (NAME.bin): NAME.documents.bin, an int32 for each token, whose runs of equal ids are documents; and
/// NAME.COLUMN.bin, a uint8 or uint16 for each. NAME.relation.bits.bin is of documents: for each, in int32, the number n of its chunks and
/// n x n bits, row by row: what holds from the chunk of the row to that of the column.
std::filesystem::path sidecarPath(const std::filesystem::path &file, const std::string &column);

/// Files one after the other, without separators. Files of bytes are held in memory; of a token file only what is asked for is read.
class Source {
public:
  /// A token is a byte, a file is a document. Throws DataError also for a file that holds tokens of another kind.
  static Source fromBytes(const std::vector<std::filesystem::path> &files);
  /// A token file of `width` bytes per token: 2 (uint16) or 4 (uint32), little-endian. It is one document, or those of its sidecar.
  static Source fromTokens(const std::filesystem::path &file, int width);
  /// PREFIX.bin and PREFIX.idx as Megatron writes them: the index gives the type of the tokens and the sequences, each a document.
  static Source fromMegatron(const std::filesystem::path &bin, const std::filesystem::path &idx);
  /// Token files, one after the other.
  static Source join(std::vector<Source> shards);
  /// Opens the sidecar of a column for every token file that has one. Throws DataError where its length is not that of the tokens, or of
  /// the tables of the documents.
  void attach(const std::string &column);
  /// The first file without a sidecar of the column; "" where every one has it.
  std::filesystem::path findWithout(const std::string &column) const;

  int64_t size() const;
  /// Copies tokens [begin, begin + tokens.size()); a token of `vocab` or more, and a file that became shorter since it was opened, is a
  /// DataError with both numbers, file and position.
  void read(int64_t begin, int64_t vocab, std::span<int32_t> tokens) const;
  /// Copies values of a column that every file has. One of `size` or more is a DataError with both numbers, file and position.
  void readColumn(const std::string &column, int64_t begin, int64_t size, std::span<int32_t> values) const;
  /// Copies the chunks of these tokens, numbered from 0 in the order in which they come, and the bits between any two of them: bits has
  /// chunks * chunks places, row by row, 0 between documents. -1 is a token whose id in the column relation.chunk is none of its
  /// document's table, and one whose chunk finds no place.
  void readRelations(int64_t begin, int64_t chunks, std::span<int32_t> chunk, std::span<int32_t> bits) const;
  /// The number of the document of each of these tokens.
  void readDocuments(int64_t begin, std::span<int32_t> ids) const;
  /// Whether some document has two tokens or more: only then is there something to predict where documents are kept apart.
  bool hasLongDocument() const;
  /// Whether an index or a sidecar says where documents begin.
  bool knowsDocuments() const;
  /// "uint8", "uint16", ...; several where files differ.
  std::string typeNames() const;
  std::vector<std::filesystem::path> files() const;
  Fingerprint fingerprint() const;

private:
  struct Part;
  struct Tables;

  void attachTables(Part &part);

  void add(Part part, std::vector<int64_t> documents);
  std::string hashContent() const;
  /// Reads `values` elements from `begin` on, each from the part that `select` gives for a part of tokens; refuse(part, position, value)
  /// for one under 0 or of `size` or more.
  template <typename Select, typename Refuse>
  void readFrom(int64_t begin, int64_t size, std::span<int32_t> values, Select &&select, Refuse &&refuse) const;

  std::vector<Part> parts;
  std::vector<int64_t> documents; // first tokens
};

/// A file of the source, or what is in memory of it.
struct Source::Part {
  std::filesystem::path path;
  int64_t bytes = 0; // when it was opened
  int width = 1;
  bool is_signed = false;
  std::shared_ptr<const OpenFile> file; // of tokens
  std::shared_ptr<const std::vector<unsigned char>> memory;
  int64_t begin = 0;                                          // first token, in the source
  bool knows_documents = false;                               // what lies beside it says where they begin
  std::map<std::string, std::shared_ptr<const Part>> columns; // sidecars, by name
  std::shared_ptr<const Tables> tables;                       // the sidecar of relations, where it is attached

  int64_t count() const { return bytes / width; }
  std::string typeName() const { return (is_signed ? "int" : "uint") + std::to_string(8 * width); }
  /// Bytes [offset, offset + target.size()) of the file.
  void read(int64_t offset, std::span<unsigned char> target) const;
};

/// Bits between the chunks of each document of a file.
struct Source::Tables {
  Part file;
  std::vector<int64_t> begins; // byte at which the table of each document begins, with its number of chunks
};

/// The two sidecars of relations between chunks (Source::readRelations).
inline constexpr const char *relation_chunk = "relation.chunk", *relation_bits = "relation.bits";

/// Bytes per token, 2 or 4, of a token file that does not say it, from its first numbers and the model's vocab. Throws DataError where
/// neither is certain.
int recognizeWidth(const std::filesystem::path &file, int64_t vocab);

/// First token of sample n of the stream, over the global batch; the sample reads sequence + 1 tokens. Throws DataError where the
/// source is too short.
int64_t samplePosition(uint64_t seed, const char *stream, int64_t n, int64_t source_size, int64_t sequence);

} // namespace megacc::runtime

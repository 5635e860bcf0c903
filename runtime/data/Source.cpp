#include "runtime/data/Source.h"
#include "runtime/core/Hash.h"
#include "runtime/core/OpenFile.h"
#include "runtime/state/Random.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <sys/stat.h>

namespace fs = std::filesystem;

namespace megacc::runtime {
namespace {

std::string systemError() { return std::strerror(errno); }

struct Opened {
  OpenFile file;
  int64_t bytes = 0;
};

Opened open(const fs::path &path) {
  OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)); // a pipe must not hold this up
  struct stat about = {};
  if (!file || ::fstat(file.get(), &about) != 0) {
    bool is_crowded = errno == EMFILE;
    throw DataError(path.string() + ": cannot open: " + systemError() + "; fix: " + (is_crowded ? "ulimit -n" : "check --data"));
  }
  if (!S_ISREG(about.st_mode))
    throw DataError(path.string() + ": cannot open: it is " + (S_ISDIR(about.st_mode) ? "a folder" : "not a file") + "; fix: check --data");
  return {std::move(file), about.st_size};
}

/// As the other readAt(); a failure is a DataError.
size_t readAt(int file, int64_t offset, std::span<unsigned char> target, const fs::path &path) {
  ssize_t count = runtime::readAt(file, uint64_t(offset), std::as_writable_bytes(target));
  if (count < 0)
    throw DataError(path.string() + ": cannot read " + std::to_string(target.size()) + " bytes at " + std::to_string(offset) + ": " +
                    systemError());
  return size_t(count);
}

[[noreturn]] void refuseTruncated(const fs::path &path, int64_t now, int64_t before) {
  throw DataError(path.string() + ": has " + std::to_string(now) + " bytes, it had " + std::to_string(before) +
                  " when it was opened: it was truncated; fix: restore it, then --resume the run");
}

constexpr std::string_view megatron_magic("MMIDIDX\0\0", 9), numpy_magic = "\x93NUMPY";

/// What a file that is to be read as bytes or as plain tokens holds by its first bytes; "" for anything.
std::string recognizeKind(std::span<const unsigned char> head) {
  std::string_view text(reinterpret_cast<const char *>(head.data()), head.size());
  if (text.starts_with(megatron_magic))
    return "an index of Megatron; fix: name the .bin beside it";
  if (text.starts_with(numpy_magic))
    return "a NumPy array; fix: write its tokens alone, array.tofile(\"tokens.bin\")";
  uint32_t magic = 0;
  if (head.size() > 1024)
    std::memcpy(&magic, head.data(), sizeof magic);
  if (magic == 20240520 || magic == 20240801)
    return "a token file of llm.c, with a header; fix: write its tokens alone, tail -c +1025 FILE >tokens.bin";
  return "";
}

/// One column of a Megatron index, read number by number.
template <typename T> class Column {
public:
  Column(const fs::path &path, int file, int64_t begin) : path(path), file(file), at(begin) {}
  T next() {
    if (read == buffer.size()) {
      buffer.resize(1 << 15);
      auto *bytes = reinterpret_cast<unsigned char *>(buffer.data());
      buffer.resize(readAt(file, at, {bytes, buffer.size() * sizeof(T)}, path) / sizeof(T));
      at += int64_t(buffer.size() * sizeof(T)), read = 0;
      if (buffer.empty())
        throw DataError(path.string() + ": the index is cut off after " + std::to_string(at) + " bytes");
    }
    return buffer[read++];
  }

private:
  const fs::path &path;
  int file;
  int64_t at;
  size_t read = 0;
  std::vector<T> buffer;
};

/// The header of a Megatron index, checked with the size of the file.
struct MegatronIndex {
  static constexpr int64_t header_bytes = 34;
  int width = 0;
  bool is_signed = false;
  int64_t sequences = 0, groups = 0;

  int64_t pointersBegin() const { return header_bytes + 4 * sequences; }
  int64_t groupsBegin() const { return pointersBegin() + 8 * sequences; }
};

MegatronIndex readHeader(const fs::path &idx, const fs::path &bin, const Opened &opened) {
  auto fail = [&](const std::string &what) { return DataError(idx.string() + ": " + what); };
  unsigned char header[MegatronIndex::header_bytes] = {};
  size_t read = readAt(opened.file.get(), 0, header, idx);
  if (std::memcmp(header, megatron_magic.data(), std::min(read, megatron_magic.size())) != 0)
    throw fail("is not a Megatron index; fix: remove it to read " + bin.filename().string() + " as plain tokens");
  if (read < sizeof header)
    throw fail("the index is cut off after " + std::to_string(read) + " bytes");
  uint64_t version, sequences, groups;
  std::memcpy(&version, header + 9, 8), std::memcpy(&sequences, header + 18, 8), std::memcpy(&groups, header + 26, 8);
  int code = header[17];
  MegatronIndex index;
  index.width = code == 1 ? 1 : code == 3 || code == 8 ? 2 : code == 4 ? 4 : 0;
  index.is_signed = code == 3 || code == 4;
  if (version != 1 || !index.width)
    throw fail("version " + std::to_string(version) + " with type " + std::to_string(code) +
               " cannot be read; known are version 1 with types 1 (uint8), 3 (int16), 4 (int32) and 8 (uint16)");
  uint64_t rest = uint64_t(opened.bytes) - sizeof header;
  std::string counts = std::to_string(sequences) + " sequences in " + std::to_string(groups) + " documents";
  if (sequences > rest / 12 || groups == 0 || groups - 1 > (rest - 12 * sequences) / 8 || 12 * sequences + 8 * groups > rest)
    throw fail("the index is cut off after " + std::to_string(opened.bytes) + " bytes, its header says " + counts);
  // One byte per sequence may follow: the modes of multimodal data.
  if (uint64_t more = rest - 12 * sequences - 8 * groups; more != 0 && more != sequences)
    throw fail("has " + std::to_string(more) + " bytes after its " + counts + "; fix: make the index again");
  index.sequences = int64_t(sequences), index.groups = int64_t(groups);
  return index;
}

/// Where the runs of equal ids of NAME.documents.bin begin; nothing without such a file.
std::vector<int64_t> readSidecarDocuments(const fs::path &file, int64_t tokens) {
  fs::path path = sidecarPath(file, "documents");
  std::error_code error;
  if (!fs::exists(path, error))
    return {};
  Opened opened = open(path);
  if (opened.bytes != 4 * tokens)
    throw DataError(path.string() + ": has " + std::to_string(opened.bytes) + " bytes for the " + std::to_string(tokens) + " tokens of " +
                    file.filename().string() + ", expected " + std::to_string(4 * tokens) + " (int32); fix: write both again");
  std::vector<int64_t> begins;
  std::vector<int32_t> ids(std::min<int64_t>(tokens, 1 << 18));
  int32_t last = 0;
  for (int64_t at = 0; at < tokens; at += int64_t(ids.size())) {
    ids.resize(std::min<int64_t>(tokens - at, int64_t(ids.size())));
    std::span<unsigned char> bytes(reinterpret_cast<unsigned char *>(ids.data()), 4 * ids.size());
    if (size_t read = readAt(opened.file.get(), 4 * at, bytes, path); read < bytes.size())
      refuseTruncated(path, 4 * at + int64_t(read), opened.bytes);
    for (size_t i = 0; i < ids.size(); last = ids[i++])
      if (begins.empty() || ids[i] != last)
        begins.push_back(at + int64_t(i));
  }
  return begins;
}

} // namespace

fs::path sidecarPath(const fs::path &file, const std::string &column) { return fs::path(file).replace_extension("." + column + ".bin"); }

void Source::Part::read(int64_t offset, std::span<unsigned char> target) const {
  if (memory) {
    std::copy_n(memory->begin() + offset, target.size(), target.begin());
    return;
  }
  struct stat about = {};
  if (::fstat(file->get(), &about) != 0)
    throw DataError(path.string() + ": cannot read: " + systemError());
  if (about.st_size < bytes)
    refuseTruncated(path, about.st_size, bytes);
  if (size_t count = readAt(file->get(), offset, target, path); count < target.size())
    refuseTruncated(path, offset + int64_t(count), bytes);
}

void Source::add(Part part, std::vector<int64_t> begins) {
  part.begin = size();
  for (int64_t begin : begins)
    documents.push_back(part.begin + begin);
  parts.push_back(std::move(part));
}

Source Source::fromBytes(const std::vector<fs::path> &files) {
  Source source;
  for (const fs::path &path : files) {
    Opened opened = open(path);
    auto memory = std::make_shared<std::vector<unsigned char>>(opened.bytes);
    if (size_t read = readAt(opened.file.get(), 0, *memory, path); read < memory->size())
      refuseTruncated(path, int64_t(read), opened.bytes);
    if (std::string kind = recognizeKind(*memory); !kind.empty())
      throw DataError(path.string() + ": is not read as bytes, it is " + kind);
    Part part;
    part.path = path, part.bytes = opened.bytes, part.memory = std::move(memory);
    source.add(std::move(part), {0});
  }
  return source;
}

Source Source::fromTokens(const fs::path &file, int width) {
  if (width != 2 && width != 4)
    throw DataError("a token has 2 or 4 bytes, not " + std::to_string(width) + "; fix: --token-type uint16 or uint32");
  Opened opened = open(file);
  if (opened.bytes == 0)
    throw DataError(file.string() + ": the token file is empty");
  std::vector<unsigned char> head(std::min<int64_t>(opened.bytes, 2048));
  head.resize(readAt(opened.file.get(), 0, head, file));
  if (std::string kind = recognizeKind(head); !kind.empty())
    throw DataError(file.string() + ": is not plain tokens, it is " + kind);
  if (opened.bytes % width)
    throw DataError(file.string() + ": " + std::to_string(opened.bytes) + " bytes are not a whole number of " + std::to_string(width) +
                    "-byte tokens; fix: check --token-type");
  Part part;
  part.path = file, part.bytes = opened.bytes, part.width = width;
  part.file = std::make_shared<const OpenFile>(std::move(opened.file));
  std::vector<int64_t> begins = readSidecarDocuments(file, opened.bytes / width);
  part.knows_documents = !begins.empty();
  Source source;
  source.add(std::move(part), begins.empty() ? std::vector<int64_t>{0} : std::move(begins));
  return source;
}

Source Source::fromMegatron(const fs::path &bin, const fs::path &idx) {
  Opened opened = open(idx), tokens = open(bin);
  MegatronIndex index = readHeader(idx, bin, opened);
  auto fail = [&](const std::string &what) { return DataError(idx.string() + ": " + what + "; fix: make the index again"); };
  Column<int32_t> lengths(idx, opened.file.get(), MegatronIndex::header_bytes);
  Column<int64_t> pointers(idx, opened.file.get(), index.pointersBegin()), groups(idx, opened.file.get(), index.groupsBegin());
  std::vector<int64_t> begins;
  int64_t begin = 0;
  for (int64_t sequence = 0; sequence < index.sequences; ++sequence) {
    int32_t length = lengths.next();
    int64_t pointer = pointers.next();
    std::string name = "sequence " + std::to_string(sequence);
    if (length < 0)
      throw fail(name + " has the length " + std::to_string(length));
    if (pointer != begin * index.width)
      throw fail(name + " starts at byte " + std::to_string(pointer) + ", those before it end at " + std::to_string(begin * index.width));
    if (length > 0)
      begins.push_back(begin);
    begin += length;
    if (begin > std::numeric_limits<int64_t>::max() / 8)
      throw fail(name + " ends after " + std::to_string(begin) + " tokens");
  }
  for (int64_t group = 0, last = 0; group < index.groups; ++group) {
    int64_t first = groups.next(), expected = group == 0 ? 0 : group == index.groups - 1 ? index.sequences : first;
    if (first < last || first > index.sequences || first != expected)
      throw fail("document " + std::to_string(group) + " starts at sequence " + std::to_string(first) + " of " +
                 std::to_string(index.sequences) + ", the one before it at " + std::to_string(last));
    last = first;
  }
  if (begin * index.width != tokens.bytes)
    throw DataError(bin.string() + ": has " + std::to_string(tokens.bytes) + " bytes, its index describes " + std::to_string(begin) +
                    " tokens of " + std::to_string(index.width) + "; fix: one of the two is from another data set");
  if (begin == 0)
    throw DataError(bin.string() + ": the token file is empty");
  Part part;
  part.path = bin, part.bytes = tokens.bytes, part.width = index.width, part.is_signed = index.is_signed;
  part.file = std::make_shared<const OpenFile>(std::move(tokens.file)), part.knows_documents = true;
  Source source;
  source.add(std::move(part), std::move(begins));
  return source;
}

void Source::attach(const std::string &column) {
  for (Part &part : parts) {
    fs::path path = sidecarPath(part.path, column);
    std::error_code error;
    if (part.memory || !fs::exists(path, error))
      continue;
    if (column == relation_bits) {
      attachTables(part);
      continue;
    }
    Opened opened = open(path);
    if (opened.bytes != part.count() && opened.bytes != 2 * part.count())
      throw DataError(path.string() + ": has " + std::to_string(opened.bytes) + " bytes for the " + std::to_string(part.count()) +
                      " tokens of " + part.path.filename().string() + ", expected " + std::to_string(part.count()) + " (uint8) or " +
                      std::to_string(2 * part.count()) + " (uint16); fix: write both again");
    Part sidecar;
    sidecar.path = path, sidecar.bytes = opened.bytes, sidecar.width = int(opened.bytes / part.count());
    sidecar.file = std::make_shared<const OpenFile>(std::move(opened.file));
    part.columns[column] = std::make_shared<const Part>(std::move(sidecar));
  }
}

void Source::attachTables(Part &part) {
  fs::path path = sidecarPath(part.path, relation_bits);
  Opened opened = open(path);
  auto tables = std::make_shared<Tables>();
  auto begin = std::ranges::lower_bound(documents, part.begin), end = std::ranges::lower_bound(documents, part.begin + part.count());
  int64_t count = end - begin, at = 0;
  for (int64_t document = 0; document < count; ++document) {
    int32_t chunks = -1;
    readAt(opened.file.get(), at, {reinterpret_cast<unsigned char *>(&chunks), sizeof chunks}, path);
    int64_t most = opened.bytes / 4; // numbers that the file has; their square is not formed before it is known to be small
    bool is_small = chunks == 0 || (chunks > 0 && chunks <= most / chunks);
    int64_t next = is_small ? at + 4 + 4 * int64_t(chunks) * chunks : 0;
    if (!is_small || next > opened.bytes)
      throw DataError(path.string() + ": the table of document " + std::to_string(document) + " of " + std::to_string(count) +
                      " begins at byte " + std::to_string(at) + " with " + std::to_string(chunks) + " chunks, the file has " +
                      std::to_string(opened.bytes) + " bytes; fix: write both again");
    tables->begins.push_back(at);
    at = next;
  }
  if (at != opened.bytes)
    throw DataError(path.string() + ": has " + std::to_string(opened.bytes) + " bytes, the tables of the " + std::to_string(count) +
                    " documents of " + part.path.filename().string() + " end after " + std::to_string(at) + "; fix: write both again");
  tables->file.path = path, tables->file.bytes = opened.bytes, tables->file.width = 4;
  tables->file.file = std::make_shared<const OpenFile>(std::move(opened.file));
  part.tables = std::move(tables);
}

fs::path Source::findWithout(const std::string &column) const {
  auto lacks = [&](const Part &part) { return column == relation_bits ? !part.tables : !part.columns.contains(column); };
  auto found = std::ranges::find_if(parts, lacks);
  return found == parts.end() ? fs::path() : found->path;
}

Source Source::join(std::vector<Source> shards) {
  Source all;
  for (Source &shard : shards) {
    int64_t begin = all.size();
    for (int64_t document : shard.documents)
      all.documents.push_back(begin + document);
    for (Part &part : shard.parts) {
      part.begin += begin;
      all.parts.push_back(std::move(part));
    }
  }
  return all;
}

int64_t Source::size() const { return parts.empty() ? 0 : parts.back().begin + parts.back().count(); }

template <typename Select, typename Refuse>
void Source::readFrom(int64_t begin, int64_t size, std::span<int32_t> values, Select &&select, Refuse &&refuse) const {
  auto part = std::ranges::upper_bound(parts, begin, {}, &Part::begin) - 1;
  std::vector<unsigned char> bytes;
  for (size_t done = 0; done < values.size(); ++part) {
    const Part &from = select(*part);
    int64_t first = begin + int64_t(done) - part->begin, count = std::min(part->count() - first, int64_t(values.size() - done));
    bytes.resize(count * from.width);
    from.read(first * from.width, bytes);
    for (int64_t i = 0; i < count; ++i) {
      uint32_t number = 0;
      std::memcpy(&number, bytes.data() + i * from.width, from.width);
      int64_t value = !from.is_signed ? int64_t(number) : from.width == 2 ? int16_t(number) : int32_t(number);
      if (value < 0 || value >= size)
        refuse(from, first + i, value);
      values[done + i] = int32_t(value);
    }
    done += count;
  }
}

void Source::read(int64_t begin, int64_t vocab, std::span<int32_t> tokens) const {
  readFrom(
      begin, vocab, tokens, [](const Part &part) -> const Part & { return part; },
      [&](const Part &part, int64_t position, int64_t token) {
        throw DataError(part.path.string() + ": token " + std::to_string(token) + " at position " + std::to_string(position) +
                        " is outside the model's vocab " + std::to_string(vocab) + "; fix: check --token-type, or tokenize for this model");
      });
}

void Source::readColumn(const std::string &column, int64_t begin, int64_t size, std::span<int32_t> values) const {
  readFrom(
      begin, size, values, [&](const Part &part) -> const Part & { return *part.columns.at(column); },
      [&](const Part &part, int64_t position, int64_t value) {
        throw DataError(part.path.string() + ": id " + std::to_string(value) + " at position " + std::to_string(position) +
                        " is outside the " + std::to_string(size) + " ids that the model has for '" + column +
                        "'; fix: declare a larger size, or write the column again");
      });
}

void Source::readRelations(int64_t begin, int64_t chunks, std::span<int32_t> chunk, std::span<int32_t> bits) const {
  readColumn(relation_chunk, begin, int64_t(1) << 16, chunk);
  std::ranges::fill(bits, 0);
  size_t document = std::ranges::upper_bound(documents, begin) - documents.begin() - 1;
  std::vector<int32_t> table, own; // of a document; of its chunks seen here, their ids
  int64_t first = 0;               // place of the first of them
  for (int64_t t = 0, count = int64_t(chunk.size()); t < count; ++document) {
    auto part = std::ranges::upper_bound(parts, documents[document], {}, &Part::begin) - 1;
    auto of_part = std::ranges::lower_bound(documents, part->begin) - documents.begin();
    int64_t at = part->tables->begins[document - of_part];
    auto read = [&](int64_t offset, std::span<int32_t> values) {
      part->tables->file.read(offset, {reinterpret_cast<unsigned char *>(values.data()), values.size_bytes()});
    };
    int32_t size = 0;
    read(at, {&size, 1});
    table.resize(int64_t(size) * size), own.clear();
    read(at + 4, table);
    int64_t end = document + 1 < documents.size() ? std::min(count, documents[document + 1] - begin) : count;
    for (; t < end; ++t) {
      int32_t id = chunk[t];
      int64_t place = std::ranges::find(own, id) - own.begin();
      chunk[t] = -1;
      if (id >= size || (place == int64_t(own.size()) && first + place >= chunks))
        continue;
      if (place == int64_t(own.size()))
        own.push_back(id);
      chunk[t] = int32_t(first + place);
    }
    for (size_t i = 0; i < own.size(); ++i)
      for (size_t j = 0; j < own.size(); ++j)
        bits[(first + int64_t(i)) * chunks + first + int64_t(j)] = table[int64_t(own[i]) * size + own[j]];
    first += int64_t(own.size());
  }
}

void Source::readDocuments(int64_t begin, std::span<int32_t> ids) const {
  size_t document = std::ranges::upper_bound(documents, begin) - documents.begin() - 1;
  for (size_t i = 0; i < ids.size(); ++i) {
    while (document + 1 < documents.size() && documents[document + 1] <= begin + int64_t(i))
      ++document;
    ids[i] = int32_t(document);
  }
}

bool Source::knowsDocuments() const { return std::ranges::any_of(parts, &Part::knows_documents); }

bool Source::hasLongDocument() const {
  for (size_t i = 0; i < documents.size(); ++i)
    if ((i + 1 < documents.size() ? documents[i + 1] : size()) - documents[i] > 1)
      return true;
  return false;
}

std::string Source::typeNames() const {
  std::string names;
  for (const Part &part : parts)
    if (names.find(part.typeName()) == std::string::npos)
      names += (names.empty() ? "" : ", ") + part.typeName();
  return names;
}

std::vector<fs::path> Source::files() const {
  std::vector<fs::path> paths;
  for (const Part &part : parts)
    paths.push_back(part.path);
  return paths;
}

/// Only pieces of large token files are read.
std::string Source::hashContent() const {
  constexpr int64_t piece = 64 << 10, pieces = 16;
  Hash hash;
  std::vector<unsigned char> buffer;
  auto add = [&](const Part &part, int64_t offset, int64_t size) {
    buffer.resize(size);
    part.read(offset, buffer);
    hash.add(buffer.data(), buffer.size());
  };
  auto addPieces = [&](const Part &part) {
    if (part.memory)
      hash.add(part.memory->data(), part.memory->size());
    else if (part.bytes <= piece * pieces)
      add(part, 0, part.bytes);
    else
      for (int64_t i = 0; i < pieces; ++i)
        add(part, (part.bytes - piece) * i / (pieces - 1), piece);
  };
  for (const Part &part : parts) {
    addPieces(part);
    for (const auto &[name, column] : part.columns)
      addPieces(*column);
    if (part.tables)
      addPieces(part.tables->file);
  }
  hash.add(documents.data(), documents.size() * sizeof(int64_t));
  return hash.digits();
}

Fingerprint Source::fingerprint() const {
  fs::path common = parts.front().path.parent_path();
  int64_t bytes = 0;
  for (const Part &part : parts) {
    bytes += part.bytes;
    while (common != common.parent_path() && std::ranges::mismatch(common, part.path).in1 != common.end())
      common = common.parent_path();
  }
  Hash names;
  for (const Part &part : parts)
    names.add(part.path.lexically_relative(common).string() + "\n" + std::to_string(part.bytes) + "\n");
  return {{"files", std::to_string(parts.size())},
          {"bytes", std::to_string(bytes)},
          {"names", names.digits()},
          {"type", typeNames()},
          {"content", hashContent()}};
}

int recognizeWidth(const fs::path &file, int64_t vocab) {
  Opened opened = open(file);
  std::vector<unsigned char> bytes(std::min<int64_t>(opened.bytes, 1 << 20));
  bytes.resize(readAt(opened.file.get(), 0, bytes, file));
  auto ask = [&](const std::string &what) {
    return DataError(file.string() + ": " + what + ", and the file does not say which; fix: --token-type uint16 or uint32");
  };
  // As 4-byte numbers tokens of 2 bytes are large ones, unless every other one is 0; and tokens of 4 bytes have small upper halves.
  constexpr uint32_t largest_token = 1 << 20;
  if (bytes.empty())
    return 2;
  uint32_t largest = 0, largest_low = 0;
  for (size_t at = 0; at + 4 <= bytes.size(); at += 4) {
    uint32_t number;
    std::memcpy(&number, bytes.data() + at, 4);
    largest = std::max(largest, number), largest_low = std::max(largest_low, number & 0xFFFF);
  }
  bool is_whole = opened.bytes % 4 == 0;
  if (is_whole && largest > 0 && int64_t(largest) < vocab)
    return 4;
  if (vocab > 65536)
    throw ask("a vocab of " + std::to_string(vocab) + " does not fit into uint16, and as uint32 its first tokens reach " +
              std::to_string(largest));
  if (is_whole && largest < largest_token && largest_low >= largest_token >> 16)
    throw ask("its first tokens look like uint32 up to " + std::to_string(largest) + ", outside the model's vocab " +
              std::to_string(vocab));
  return 2;
}

int64_t samplePosition(uint64_t seed, const char *stream, int64_t n, int64_t source_size, int64_t sequence) {
  if (source_size <= sequence)
    throw DataError("the data has " + std::to_string(source_size) + " tokens, a sample of sequence " + std::to_string(sequence) +
                    " needs " + std::to_string(sequence + 1) + "; fix: give more data or a model with a shorter sequence");
  return int64_t(draw(streamKey(seed, stream), uint64_t(n)) % uint64_t(source_size - sequence));
}

} // namespace megacc::runtime

// Safetensors files: 8 bytes of header length, a JSON header, then the tensors.
#pragma once
#include "runtime/core/OpenFile.h"
#include "runtime/core/Shape.h"
#include "runtime/state/FileSystem.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace megacc::runtime {

/// A tensor to write; dtype as the format writes it: BF16, F32, F64, I32 or I64, little-endian.
struct TensorSource {
  std::string dtype;
  std::vector<int64_t> shape;
  /// Fills `target` with the tensor's bytes from `offset` on; called once for every part, in order.
  std::function<void(uint64_t offset, std::span<std::byte> target)> read;
};

/// A tensor in memory that somebody else owns.
TensorSource viewOf(std::span<const float> values, std::vector<int64_t> shape);
TensorSource viewOf(std::span<const int64_t> values, std::vector<int64_t> shape);
TensorSource viewOf(std::span<const int32_t> values, std::vector<int64_t> shape);

using Metadata = std::map<std::string, std::string>;

/// A file whose header has been read and checked: its tensors are of known types and lie one after the other, without overlaps and gaps.
/// They are read when asked for.
class SafetensorsFile {
public:
  struct Entry {
    std::string dtype;
    std::vector<int64_t> shape;
    uint64_t begin = 0, bytes = 0; // in the file
  };

  /// Throws FileError, naming the file and the mistake.
  explicit SafetensorsFile(const std::filesystem::path &path);

  std::string name() const { return path.string(); }
  const std::map<std::string, Entry> &entries() const { return tensors; }
  const Metadata &metadata() const { return about; }
  /// Whether writeSafetensors wrote it: then there are hashes to compare with.
  bool hasHashes() const;
  /// Compares the header and every tensor with the hashes that writeSafetensors left. Throws FileError for another or none.
  void verify() const;
  /// Reads a tensor of this dtype and exactly as many bytes as `target`. Throws FileError for a missing one or another size.
  void read(const std::string &name, const std::string &dtype, std::span<std::byte> target) const;
  /// Reads elements [first, first + values.size()) of a tensor of dtype F32 or BF16 that has them. Throws FileError for a missing or
  /// another one.
  void readFloats(const std::string &name, int64_t first, std::span<float> values) const;

private:
  const Entry &find(const std::string &name) const;
  void readBytes(const std::string &name, uint64_t begin, std::span<std::byte> target) const;
  void checkOrder(uint64_t begin, uint64_t end) const;

  std::filesystem::path path;
  OpenFile file;
  std::string header; // as it stands in the file
  std::map<std::string, Entry> tensors;
  Metadata about;
};

/// Tensors are read and written in parts of this many bytes.
inline constexpr size_t part_bytes = 16 << 20;

/// Reads the tensors as writeSafetensors does, part by part, and writes nothing: what a rank does while another one writes.
void readThrough(const std::map<std::string, TensorSource> &tensors);

/// Writes to a temporary file beside `path`, syncs it and renames it, so that `path` is always whole; the folder is synced before and
/// after. Throws FileError; an older file at `path` then stays as it was, unless the error says that the new one is there. The header's
/// metadata get a hash of every tensor, xxh3_128.NAME, and xxh3_128, a hash of the header with zeros in its own place. `before_rename` runs
/// when the new file is whole and the older one still in its place.
void writeSafetensors(const std::filesystem::path &path, const std::map<std::string, TensorSource> &tensors, const Metadata &metadata = {},
                      const std::function<void()> &before_rename = {});

} // namespace megacc::runtime

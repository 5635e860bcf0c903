// Safetensors files: 8 bytes of header length, a JSON header, then the tensors.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace megacc::runtime {

struct FileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A tensor in memory that somebody else owns; dtype as the format writes it: F32, I32 or I64, little-endian.
struct TensorView {
  std::string dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

inline TensorView viewOf(std::span<const float> values, std::vector<int64_t> shape) { return {"F32", std::move(shape), std::as_bytes(values)}; }
inline TensorView viewOf(std::span<const int64_t> values, std::vector<int64_t> shape) { return {"I64", std::move(shape), std::as_bytes(values)}; }

using Metadata = std::map<std::string, std::string>;

/// A file whose header has been read and checked; tensors are read when asked for.
class SafetensorsFile {
public:
  struct Entry {
    std::string dtype;
    std::vector<int64_t> shape;
    uint64_t begin = 0, bytes = 0; // in the file
  };

  /// Throws FileError, naming the file and the mistake.
  explicit SafetensorsFile(const std::filesystem::path &path);

  const std::map<std::string, Entry> &entries() const { return tensors; }
  const Metadata &metadata() const { return about; }
  /// Compares the whole file with the hash that writeSafetensors left in its header. Throws FileError for another or none.
  void verify();
  /// Reads a tensor of this dtype and exactly as many bytes as `target`. Throws FileError for a missing one or another size.
  void read(const std::string &name, const std::string &dtype, std::span<std::byte> target);

private:
  std::filesystem::path path;
  std::ifstream file;
  std::string header; // as it stands in the file
  std::map<std::string, Entry> tensors;
  Metadata about;
};

/// Writes to a temporary file beside `path`, syncs it and renames it, so that `path` is always whole. Throws FileError; an older
/// file at `path` then stays as it was. The header's metadata get the key xxh3_128: a hash of the header, with zeros in its own place, and of
/// all tensors.
void writeSafetensors(const std::filesystem::path &path, const std::map<std::string, TensorView> &tensors, const Metadata &metadata = {});

/// "(2, 3)".
std::string shapeText(const std::vector<int64_t> &shape);

} // namespace megacc::runtime

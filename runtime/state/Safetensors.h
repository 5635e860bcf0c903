// Safetensors files: 8 bytes of header length, a JSON header, then the tensors.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace megacc::runtime {

/// A tensor in memory; dtype as the format writes it: F32, I32 or I64, little-endian.
struct Tensor {
  std::string dtype = "F32";
  std::vector<int64_t> shape;
  std::vector<unsigned char> bytes;
};

struct FileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Reads a whole file. Throws FileError, naming the file and the mistake.
std::map<std::string, Tensor> readSafetensors(const std::filesystem::path &path);

/// Writes to a temporary file beside `path`, syncs it and renames it, so that `path` is always whole. Throws FileError; an older
/// file at `path` then stays as it was.
void writeSafetensors(const std::filesystem::path &path, const std::map<std::string, Tensor> &tensors);

} // namespace megacc::runtime

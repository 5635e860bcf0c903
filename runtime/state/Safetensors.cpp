#include "runtime/state/Safetensors.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include <xxhash.h>

namespace megacc::runtime {
namespace {

static_assert(std::endian::native == std::endian::little);

int64_t elementSize(const std::string &dtype) { return dtype == "F32" || dtype == "I32" ? 4 : dtype == "I64" || dtype == "F64" ? 8 : 0; }

[[noreturn]] void fail(const std::filesystem::path &path, const std::string &what) { throw FileError(path.string() + ": " + what); }

std::string systemError() { return std::strerror(errno); }

constexpr const char *hash_key = "xxh3_128";
constexpr size_t hash_digits = 32;

class Hash {
public:
  Hash() : state(XXH3_createState()) { XXH3_128bits_reset(state); }
  ~Hash() { XXH3_freeState(state); }
  Hash(const Hash &) = delete;
  Hash &operator=(const Hash &) = delete;
  void add(const void *data, size_t size) { XXH3_128bits_update(state, data, size); }
  std::string digits() const {
    XXH128_hash_t value = XXH3_128bits_digest(state);
    char text[hash_digits + 1];
    snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)value.high64, (unsigned long long)value.low64);
    return text;
  }

private:
  XXH3_state_t *state;
};

void writeAll(int file, const void *data, size_t size, const std::filesystem::path &path) {
  const char *at = static_cast<const char *>(data);
  while (size > 0) {
    ssize_t written = ::write(file, at, size);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      fail(path, "cannot write: " + systemError());
    at += written;
    size -= written;
  }
}

} // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path &where) : path(where), file(where, std::ios::binary) {
  if (!file)
    fail(path, "cannot open: " + systemError());
  std::error_code error;
  uint64_t size = std::filesystem::file_size(path, error), length = 0;
  if (error)
    fail(path, "cannot open: " + error.message());
  if (size < 8 || !file.read(reinterpret_cast<char *>(&length), 8) || length > size - 8)
    fail(path, "is no safetensors file: " + std::to_string(size) + " bytes, its header needs " + std::to_string(length) + " after the first 8");
  header.resize(length);
  file.read(header.data(), length);
  nlohmann::json root = nlohmann::json::parse(header, nullptr, false);
  if (!file || !root.is_object())
    fail(path, "has a damaged header");
  uint64_t data = size - 8 - length, last = 0;
  for (auto &[name, entry] : root.items()) {
    Entry tensor;
    uint64_t begin = 0, end = 0, expected = 0;
    try {
      if (name == "__metadata__") {
        about = entry.get<Metadata>();
        continue;
      }
      tensor.dtype = entry.at("dtype").get<std::string>();
      tensor.shape = entry.at("shape").get<std::vector<int64_t>>();
      begin = entry.at("data_offsets").at(0).get<uint64_t>(), end = entry.at("data_offsets").at(1).get<uint64_t>();
    } catch (const nlohmann::json::exception &) {
      fail(path, "has a damaged entry '" + name + "'");
    }
    expected = elementSize(tensor.dtype);
    if (expected == 0)
      fail(path, "'" + name + "' has dtype " + tensor.dtype + "; known are F32, F64, I32, I64");
    for (int64_t extent : tensor.shape)
      if (extent < 0 || __builtin_mul_overflow(expected, uint64_t(extent), &expected))
        fail(path, "'" + name + "' has the impossible shape " + shapeText(tensor.shape));
    if (begin > end || end > data || end - begin != expected)
      fail(path, "'" + name + "' needs " + std::to_string(expected) + " bytes at " + std::to_string(begin) + " to " + std::to_string(end) +
                     ", the file holds " + std::to_string(data) + "; it is truncated or altered");
    tensor.begin = 8 + length + begin, tensor.bytes = expected;
    last = std::max(last, end);
    tensors.emplace(name, std::move(tensor));
  }
  if (last != data)
    fail(path, "holds " + std::to_string(data) + " bytes of tensors, its header describes " + std::to_string(last) + "; it is altered");
}

void SafetensorsFile::read(const std::string &name, const std::string &dtype, std::span<std::byte> target) {
  auto found = tensors.find(name);
  if (found == tensors.end())
    fail(path, "has no tensor '" + name + "'");
  const Entry &entry = found->second;
  if (entry.dtype != dtype || entry.bytes != target.size())
    fail(path, "'" + name + "' is " + entry.dtype + " " + shapeText(entry.shape) + " of " + std::to_string(entry.bytes) + " bytes, expected " +
                   dtype + " of " + std::to_string(target.size()));
  file.clear();
  file.seekg(entry.begin);
  if (!file.read(reinterpret_cast<char *>(target.data()), entry.bytes))
    fail(path, "cannot read '" + name + "': " + systemError());
}

void SafetensorsFile::verify() {
  auto stored = about.find(hash_key);
  size_t at = stored == about.end() ? std::string::npos : header.find(stored->second);
  if (at == std::string::npos || stored->second.size() != hash_digits)
    fail(path, "has no hash to check it by; it is altered, or not written by megacc-run");
  Hash hash;
  std::string text = header;
  text.replace(at, hash_digits, hash_digits, '0');
  hash.add(text.data(), text.size());
  file.clear();
  file.seekg(8 + header.size());
  std::vector<char> part(1 << 20);
  while (file.read(part.data(), part.size()), file.gcount() > 0)
    hash.add(part.data(), file.gcount());
  if (std::string computed = hash.digits(); computed != stored->second)
    fail(path, "is altered: its hash is " + computed + ", its header says " + stored->second);
}

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

void writeSafetensors(const std::filesystem::path &path, const std::map<std::string, TensorView> &tensors, const Metadata &metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  header["__metadata__"] = metadata;
  header["__metadata__"][hash_key] = std::string(hash_digits, '0');
  uint64_t offset = 0;
  for (const auto &[name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  uint64_t length = text.size();
  Hash hash;
  hash.add(text.data(), text.size());
  for (const auto &[name, tensor] : tensors)
    hash.add(tensor.bytes.data(), tensor.bytes.size());
  std::string place = std::string("\"") + hash_key + "\":\"";
  text.replace(text.find(place) + place.size(), hash_digits, hash.digits());

  std::filesystem::path partial = path.string() + ".partial";
  int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0)
    fail(partial, "cannot create: " + systemError());
  try {
    writeAll(file, &length, 8, partial);
    writeAll(file, text.data(), text.size(), partial);
    for (const auto &[name, tensor] : tensors)
      writeAll(file, tensor.bytes.data(), tensor.bytes.size(), partial);
    if (::fsync(file) != 0)
      fail(partial, "cannot sync: " + systemError());
  } catch (...) {
    ::close(file);
    ::unlink(partial.c_str());
    throw;
  }
  if (::close(file) != 0 || ::rename(partial.c_str(), path.c_str()) != 0) {
    std::string reason = systemError();
    ::unlink(partial.c_str());
    fail(path, "cannot finish: " + reason);
  }
  std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0 || ::fsync(directory) != 0)
    fail(folder, "cannot sync: " + systemError());
  ::close(directory);
}

} // namespace megacc::runtime

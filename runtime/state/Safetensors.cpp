#include "runtime/state/Safetensors.h"
#include "runtime/core/Bfloat16.h"

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

int64_t elementSize(const std::string &dtype) {
  return dtype == "BF16" ? 2 : dtype == "F32" || dtype == "I32" ? 4 : dtype == "I64" || dtype == "F64" ? 8 : 0;
}

TensorSource viewOf(const char *dtype, std::span<const std::byte> bytes, std::vector<int64_t> shape) {
  return {dtype, std::move(shape), [bytes](uint64_t offset, std::span<std::byte> target) {
            std::ranges::copy(bytes.subspan(offset, target.size()), target.begin());
          }};
}

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
    fail(path,
         "is no safetensors file: " + std::to_string(size) + " bytes, its header needs " + std::to_string(length) + " after the first 8");
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
      fail(path, "'" + name + "' has dtype " + tensor.dtype + "; known are BF16, F32, F64, I32, I64");
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

TensorSource viewOf(std::span<const float> values, std::vector<int64_t> shape) {
  return viewOf("F32", std::as_bytes(values), std::move(shape));
}
TensorSource viewOf(std::span<const int64_t> values, std::vector<int64_t> shape) {
  return viewOf("I64", std::as_bytes(values), std::move(shape));
}

const SafetensorsFile::Entry &SafetensorsFile::find(const std::string &name) const {
  auto found = tensors.find(name);
  if (found == tensors.end())
    fail(path, "has no tensor '" + name + "'");
  return found->second;
}

void SafetensorsFile::readBytes(const std::string &name, uint64_t begin, std::span<std::byte> target) {
  file.clear();
  file.seekg(begin);
  if (!file.read(reinterpret_cast<char *>(target.data()), target.size()))
    fail(path, "cannot read '" + name + "': " + systemError());
}

void SafetensorsFile::read(const std::string &name, const std::string &dtype, std::span<std::byte> target) {
  const Entry &entry = find(name);
  if (entry.dtype != dtype || entry.bytes != target.size())
    fail(path, "'" + name + "' is " + entry.dtype + " " + shapeText(entry.shape) + " of " + std::to_string(entry.bytes) +
                   " bytes, expected " + dtype + " of " + std::to_string(target.size()));
  readBytes(name, entry.begin, target);
}

void SafetensorsFile::readFloats(const std::string &name, int64_t first, std::span<float> values) {
  const Entry &entry = find(name);
  bool half = entry.dtype == "BF16";
  uint64_t width = half ? 2 : 4, elements = entry.bytes / width;
  if (!(half || entry.dtype == "F32") || first < 0 || values.size() > elements || uint64_t(first) > elements - values.size())
    fail(path, "'" + name + "' is " + entry.dtype + " " + shapeText(entry.shape) + ", expected F32 or BF16 of at least " +
                   std::to_string(uint64_t(first) + values.size()) + " elements");
  if (!half)
    return readBytes(name, entry.begin + first * width, std::as_writable_bytes(values));
  std::vector<uint16_t> halves(values.size());
  readBytes(name, entry.begin + first * width, std::as_writable_bytes(std::span(halves)));
  std::ranges::transform(halves, values.begin(), fromBfloat16);
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

void writeSafetensors(const std::filesystem::path &path, const std::map<std::string, TensorSource> &tensors, const Metadata &metadata,
                      const std::function<void()> &before_rename) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  header["__metadata__"] = metadata;
  header["__metadata__"][hash_key] = std::string(hash_digits, '0');
  auto bytesOf = [](const TensorSource &tensor) { return uint64_t(elementSize(tensor.dtype) * countElements(tensor.shape)); };
  uint64_t end = 0;
  for (const auto &[name, tensor] : tensors) {
    uint64_t begin = end;
    end += bytesOf(tensor);
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  uint64_t length = text.size();
  std::string place = std::string("\"") + hash_key + "\":\"";
  Hash hash;
  hash.add(text.data(), text.size());

  std::filesystem::path partial = path.string() + ".partial";
  int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0)
    fail(partial, "cannot create: " + systemError());
  try {
    writeAll(file, &length, 8, partial);
    writeAll(file, text.data(), text.size(), partial);
    std::vector<std::byte> buffer(std::min<uint64_t>(end, part_bytes));
    for (const auto &[name, tensor] : tensors)
      for (uint64_t offset = 0, bytes = bytesOf(tensor); offset < bytes; offset += part_bytes) {
        std::span part = std::span(buffer).first(std::min<uint64_t>(bytes - offset, part_bytes));
        tensor.read(offset, part);
        hash.add(part.data(), part.size());
        writeAll(file, part.data(), part.size(), partial);
      }
    // The hash takes the place of its zeros.
    if (::lseek(file, 8 + text.find(place) + place.size(), SEEK_SET) < 0)
      fail(partial, "cannot write: " + systemError());
    writeAll(file, hash.digits().data(), hash_digits, partial);
    if (::fsync(file) != 0)
      fail(partial, "cannot sync: " + systemError());
    if (before_rename)
      before_rename();
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
  std::string reason = directory < 0 || ::fsync(directory) != 0 ? systemError() : "";
  if (directory >= 0)
    ::close(directory);
  if (!reason.empty())
    fail(folder, "cannot sync, " + path.filename().string() + " is the new file: " + reason);
}

} // namespace megacc::runtime

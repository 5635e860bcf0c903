#include "runtime/state/Safetensors.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/core/Hash.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace megacc::runtime {
namespace {

static_assert(std::endian::native == std::endian::little);

int64_t elementSize(const std::string &dtype) {
  return dtype == "BF16" ? 2 : dtype == "F32" || dtype == "I32" ? 4 : dtype == "I64" || dtype == "F64" ? 8 : 0;
}

uint64_t byteCount(const TensorSource &tensor) { return uint64_t(elementSize(tensor.dtype) * countElements(tensor.shape)); }

TensorSource viewOf(const char *dtype, std::span<const std::byte> bytes, std::vector<int64_t> shape) {
  return {dtype, std::move(shape), [bytes](uint64_t offset, std::span<std::byte> target) {
            std::ranges::copy(bytes.subspan(offset, target.size()), target.begin());
          }};
}

[[noreturn]] void fail(const std::filesystem::path &path, const std::string &what) { throw FileError(path.string() + ": " + what); }

std::string systemError() { return std::strerror(errno); }

/// In the metadata: of the header, and of a tensor.
constexpr const char *header_key = "xxh3_128";
std::string hashKey(const std::string &tensor) { return header_key + ("." + tensor); }

/// The bound of the format.
constexpr uint64_t largest_header = 100'000'000;

/// Where the digits of the header's own hash stand in its text; npos without one.
size_t findHeaderHash(const std::string &header) {
  std::string key = std::string("\"") + header_key + "\":\"";
  size_t at = header.find(key);
  return at == std::string::npos || at + key.size() + Hash::digit_count > header.size() ? std::string::npos : at + key.size();
}

/// The hash of a header with zeros in the place of its own hash.
std::string hashHeader(std::string header, size_t at) {
  header.replace(at, Hash::digit_count, Hash::digit_count, '0');
  Hash hash;
  hash.add(header);
  return hash.digits();
}

void writeAll(int file, const void *data, size_t size, uint64_t offset, const std::filesystem::path &path) {
  const char *from = static_cast<const char *>(data);
  while (size > 0) {
    ssize_t written = ::pwrite(file, from, size, off_t(offset));
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      fail(path, "cannot write: " + describeWriteError(errno));
    from += written, offset += uint64_t(written), size -= size_t(written);
  }
}

/// The JSON of a header: an object that names nothing twice and is not deeper than the format's. Null for any other.
nlohmann::json parseHeader(const std::string &text) {
  constexpr int deepest = 3;
  std::vector<std::set<std::string>> names; // of the objects that are open
  bool is_good = true;
  auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json &value) {
    is_good &= depth <= deepest;
    if (event == nlohmann::json::parse_event_t::object_start)
      names.emplace_back();
    else if (event == nlohmann::json::parse_event_t::object_end)
      names.pop_back();
    else if (event == nlohmann::json::parse_event_t::key)
      is_good &= names.back().insert(value.get<std::string>()).second;
    return is_good;
  };
  nlohmann::json root = nlohmann::json::parse(text, watch, /*allow_exceptions=*/false);
  return is_good && root.is_object() ? std::move(root) : nlohmann::json();
}

/// A number that the format allows; nothing for a negative one, a fraction, or one above `largest`.
std::optional<uint64_t> readNatural(const nlohmann::json &value, uint64_t largest) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > largest)
    return std::nullopt;
  return value.get<uint64_t>();
}

} // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path &where)
    : path(where), file(::open(where.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) { // a pipe must not hold this up
  struct stat status = {};
  if (!file || ::fstat(file.get(), &status) != 0)
    fail(path, "cannot open: " + systemError());
  if (!S_ISREG(status.st_mode))
    fail(path, "cannot open: it is not a file");
  uint64_t size = uint64_t(status.st_size), length = 0;
  if (size >= 8)
    readBytes("the header", 0, std::as_writable_bytes(std::span(&length, 1)));
  if (size < 8 || length > size - 8)
    fail(path, "is not a safetensors file: " + std::to_string(size) + " bytes, its header needs " + std::to_string(length) +
                   " after the first 8");
  if (length > largest_header)
    fail(path, "is not a safetensors file: its header has " + std::to_string(length) + " bytes, at most " + std::to_string(largest_header) +
                   " are allowed");
  header.resize(length);
  readBytes("the header", 8, std::as_writable_bytes(std::span(header)));
  nlohmann::json root = parseHeader(header);
  if (!root.is_object())
    fail(path, "has a damaged header");
  uint64_t data = size - 8 - length;
  constexpr uint64_t largest = std::numeric_limits<int64_t>::max();
  for (auto &[name, entry] : root.items()) {
    Entry tensor;
    std::optional<uint64_t> begin, end;
    try {
      if (name == "__metadata__") {
        about = entry.get<Metadata>();
        continue;
      }
      tensor.dtype = entry.at("dtype").get<std::string>();
      bool is_good = entry.at("shape").is_array() && entry.at("data_offsets").size() == 2;
      for (const nlohmann::json &extent : entry.at("shape")) {
        std::optional<uint64_t> value = readNatural(extent, largest);
        is_good &= value.has_value();
        tensor.shape.push_back(int64_t(value.value_or(0)));
      }
      begin = readNatural(entry.at("data_offsets").at(0), largest), end = readNatural(entry.at("data_offsets").at(1), largest);
      if (!is_good || !begin || !end)
        fail(path, "has a damaged entry '" + name + "': " + entry.dump());
    } catch (const nlohmann::json::exception &) {
      fail(path, "has a damaged entry '" + name + "'");
    }
    uint64_t expected = uint64_t(elementSize(tensor.dtype));
    if (expected == 0)
      fail(path, "'" + name + "' has dtype " + tensor.dtype + "; known are BF16, F32, F64, I32, I64");
    for (int64_t extent : tensor.shape)
      if (__builtin_mul_overflow(expected, uint64_t(extent), &expected) || expected > largest)
        fail(path, "'" + name + "' has the impossible shape " + shapeText(tensor.shape));
    if (*begin > *end || *end > data || *end - *begin != expected)
      fail(path, "'" + name + "' needs " + std::to_string(expected) + " bytes at " + std::to_string(*begin) + " to " +
                     std::to_string(*end) + ", the file holds " + std::to_string(data) + "; it is truncated or altered");
    tensor.begin = 8 + length + *begin, tensor.bytes = expected;
    tensors.emplace(name, std::move(tensor));
  }
  checkOrder(8 + length, size);
}

/// Every byte after the header belongs to one tensor.
void SafetensorsFile::checkOrder(uint64_t begin, uint64_t end) const {
  std::vector<std::pair<Entry, std::string>> ordered;
  for (const auto &[name, entry] : tensors)
    ordered.push_back({entry, name});
  std::ranges::sort(ordered, {}, [](const auto &tensor) { return std::pair(tensor.first.begin, tensor.first.bytes); });
  uint64_t at = begin;
  for (const auto &[entry, name] : ordered) {
    if (entry.begin != at)
      fail(path, "'" + name + "' starts at byte " + std::to_string(entry.begin - begin) + ", the tensors before it end at " +
                     std::to_string(at - begin) + ": " + (entry.begin < at ? "they overlap" : "there is a gap") + "; it is altered");
    at += entry.bytes;
  }
  if (at != end)
    fail(path, "holds " + std::to_string(end - begin) + " bytes of tensors, its header describes " + std::to_string(at - begin) +
                   "; it is altered");
}

TensorSource viewOf(std::span<const float> values, std::vector<int64_t> shape) {
  return viewOf("F32", std::as_bytes(values), std::move(shape));
}
TensorSource viewOf(std::span<const int64_t> values, std::vector<int64_t> shape) {
  return viewOf("I64", std::as_bytes(values), std::move(shape));
}
TensorSource viewOf(std::span<const int32_t> values, std::vector<int64_t> shape) {
  return viewOf("I32", std::as_bytes(values), std::move(shape));
}

const SafetensorsFile::Entry &SafetensorsFile::find(const std::string &name) const {
  auto found = tensors.find(name);
  if (found == tensors.end())
    fail(path, "has no tensor '" + name + "'");
  return found->second;
}

void SafetensorsFile::readBytes(const std::string &name, uint64_t begin, std::span<std::byte> target) const {
  ssize_t count = readAt(file.get(), begin, target);
  if (count != ssize_t(target.size()))
    fail(path,
         "cannot read '" + name + "': " + (count < 0 ? systemError() : "the file ends at byte " + std::to_string(begin + uint64_t(count))));
}

void SafetensorsFile::read(const std::string &name, const std::string &dtype, std::span<std::byte> target) const {
  const Entry &entry = find(name);
  if (entry.dtype != dtype || entry.bytes != target.size())
    fail(path, "'" + name + "' is " + entry.dtype + " " + shapeText(entry.shape) + " of " + std::to_string(entry.bytes) +
                   " bytes, expected " + dtype + " of " + std::to_string(target.size()));
  readBytes(name, entry.begin, target);
}

void SafetensorsFile::readFloats(const std::string &name, int64_t first, std::span<float> values) const {
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

bool SafetensorsFile::hasHashes() const {
  return about.contains("megacc") || std::ranges::any_of(about, [](const auto &entry) { return entry.first.starts_with(header_key); });
}

void SafetensorsFile::verify() const {
  auto findHash = [&](const std::string &key) {
    auto found = about.find(key);
    if (found == about.end() || found->second.size() != Hash::digit_count)
      fail(path, "has no hash " + key + " to check it by; it is altered, or not written by this megacc-run");
    return found->second;
  };
  auto compare = [&](const std::string &computed, const std::string &stored, const std::string &what) {
    if (computed != stored)
      fail(path, "is altered: its hash is " + computed + ", its header says " + stored + " (" + what + ")");
  };
  std::string stored = findHash(header_key);
  size_t at = findHeaderHash(header);
  if (at == std::string::npos)
    fail(path, "has no hash " + std::string(header_key) + " to check it by; it is altered");
  compare(hashHeader(header, at), stored, "of the header");
  std::vector<std::byte> buffer;
  for (const auto &[name, entry] : tensors) {
    Hash hash;
    for (uint64_t offset = 0; offset < entry.bytes; offset += part_bytes) {
      buffer.resize(std::min<uint64_t>(entry.bytes - offset, part_bytes));
      readBytes(name, entry.begin + offset, buffer);
      hash.add(buffer.data(), buffer.size());
    }
    compare(hash.digits(), findHash(hashKey(name)), name);
  }
}

namespace {

/// The header as text, padded to a multiple of 8 bytes; its own hash is zeros.
std::string makeHeader(const std::map<std::string, TensorSource> &tensors, const Metadata &metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  header["__metadata__"] = metadata;
  header["__metadata__"][header_key] = std::string(Hash::digit_count, '0');
  uint64_t end = 0;
  for (const auto &[name, tensor] : tensors) {
    uint64_t begin = end;
    end += byteCount(tensor);
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

} // namespace

void readThrough(const std::map<std::string, TensorSource> &tensors) {
  std::vector<std::byte> buffer;
  for (const auto &[name, tensor] : tensors)
    for (uint64_t offset = 0, bytes = byteCount(tensor); offset < bytes; offset += part_bytes) {
      buffer.resize(std::min<uint64_t>(bytes - offset, part_bytes));
      tensor.read(offset, buffer);
    }
}

void writeSafetensors(const std::filesystem::path &path, const std::map<std::string, TensorSource> &tensors, const Metadata &given,
                      const std::function<void()> &before_rename) {
  std::error_code error;
  if (std::filesystem::file_status status = std::filesystem::status(path, error);
      std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    fail(path, "is not a file that can be replaced; fix: name another");
  // The header is written with the tensors' hashes when these are known; its length is the same.
  Metadata metadata = given;
  for (const auto &[name, tensor] : tensors)
    metadata[hashKey(name)] = std::string(Hash::digit_count, '0');
  uint64_t length = makeHeader(tensors, metadata).size();

  std::filesystem::path partial = path.string() + ".partial", folder = folderOf(path);
  OpenFile file(::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file)
    fail(partial, "cannot create: " + describeWriteError(errno));
  try {
    writeAll(file.get(), &length, 8, 0, partial);
    std::vector<std::byte> buffer;
    uint64_t begin = 8 + length;
    for (const auto &[name, tensor] : tensors) {
      Hash hash;
      uint64_t bytes = byteCount(tensor);
      for (uint64_t offset = 0; offset < bytes; offset += part_bytes) {
        buffer.resize(std::min<uint64_t>(bytes - offset, part_bytes));
        tensor.read(offset, buffer);
        hash.add(buffer.data(), buffer.size());
        writeAll(file.get(), buffer.data(), buffer.size(), begin + offset, partial);
      }
      metadata[hashKey(name)] = hash.digits();
      begin += bytes;
    }
    std::string header = makeHeader(tensors, metadata);
    size_t at = findHeaderHash(header);
    header.replace(at, Hash::digit_count, hashHeader(header, at));
    writeAll(file.get(), header.data(), header.size(), 8, partial);
    if (::fsync(file.get()) != 0 || file.close() != 0)
      fail(partial, "cannot write: " + describeWriteError(errno));
    if (before_rename)
      before_rename();
    syncFolder(folder);
    if (::rename(partial.c_str(), path.c_str()) != 0)
      fail(path, "cannot replace: " + describeWriteError(errno));
  } catch (...) {
    ::unlink(partial.c_str());
    throw;
  }
  try {
    syncFolder(folder);
  } catch (const FileError &unsynced) {
    fail(path, std::string("the new file is in its place, and may be lost if the machine stops now: ") + unsynced.what());
  }
}

} // namespace megacc::runtime

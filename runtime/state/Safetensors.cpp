#include "runtime/state/Safetensors.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace megacc::runtime {
namespace {

static_assert(std::endian::native == std::endian::little);

int64_t elementSize(const std::string &dtype) { return dtype == "F32" || dtype == "I32" ? 4 : dtype == "I64" || dtype == "F64" ? 8 : 0; }

[[noreturn]] void fail(const std::filesystem::path &path, const std::string &what) { throw FileError(path.string() + ": " + what); }

std::string systemError() { return std::strerror(errno); }

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

std::map<std::string, Tensor> readSafetensors(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    fail(path, "cannot open: " + systemError());
  std::error_code error;
  uint64_t size = std::filesystem::file_size(path, error), length = 0;
  if (error)
    fail(path, "cannot open: " + error.message());
  if (size < 8 || !file.read(reinterpret_cast<char *>(&length), 8) || length > size - 8)
    fail(path, "is no safetensors file: " + std::to_string(size) + " bytes, its header needs " + std::to_string(length) + " after the first 8");
  std::string text(length, 0);
  file.read(text.data(), length);
  nlohmann::json header = nlohmann::json::parse(text, nullptr, false);
  if (!file || !header.is_object())
    fail(path, "has a damaged header");
  uint64_t data = size - 8 - length;
  std::map<std::string, Tensor> tensors;
  for (auto &[name, entry] : header.items()) {
    if (name == "__metadata__")
      continue;
    Tensor tensor;
    uint64_t begin = 0, end = 0, expected = 0;
    try {
      tensor.dtype = entry.at("dtype").get<std::string>();
      tensor.shape = entry.at("shape").get<std::vector<int64_t>>();
      begin = entry.at("data_offsets").at(0).get<uint64_t>(), end = entry.at("data_offsets").at(1).get<uint64_t>();
      expected = elementSize(tensor.dtype);
      for (int64_t extent : tensor.shape)
        expected *= extent;
    } catch (const nlohmann::json::exception &) {
      fail(path, "has a damaged entry '" + name + "'");
    }
    if (elementSize(tensor.dtype) == 0)
      fail(path, "'" + name + "' has dtype " + tensor.dtype + "; known are F32, F64, I32, I64");
    if (begin > end || end > data || end - begin != expected)
      fail(path, "'" + name + "' needs " + std::to_string(expected) + " bytes at " + std::to_string(begin) + " to " + std::to_string(end) +
                     ", the file holds " + std::to_string(data) + "; it is truncated or altered");
    tensor.bytes.resize(expected);
    file.seekg(8 + length + begin);
    if (!file.read(reinterpret_cast<char *>(tensor.bytes.data()), expected))
      fail(path, "cannot read '" + name + "'");
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

void writeSafetensors(const std::filesystem::path &path, const std::map<std::string, Tensor> &tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  uint64_t offset = 0;
  for (const auto &[name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  uint64_t length = text.size();

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
}

} // namespace megacc::runtime

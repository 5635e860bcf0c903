// What the tests and benchmarks of CUDA kernels share: launches by the names of kernels.def, on buffers with guards behind them.
#pragma once
#include "megacc/KernelSignatures.h"
#include "megacc/StepABI.h"
#include "runtime/core/Status.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) int32_t symbol(const MgLaunch *launch);
#include "megacc/kernels.def"
}

namespace megacc::gpu {

using Values = std::vector<double>;

/// Whether there is a card to run on.
inline bool hasCard() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

inline void require(cudaError_t status) {
  if (status == cudaSuccess)
    return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(status));
  std::abort();
}

inline uint16_t toBf16(double value) {
  float single = float(value);
  uint32_t bits;
  std::memcpy(&bits, &single, 4);
  if (std::isnan(value))
    return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline double fromBf16(uint16_t half) {
  uint32_t bits = uint32_t(half) << 16;
  float single;
  std::memcpy(&single, &bits, 4);
  return single;
}

/// The value that a type keeps of a number.
inline double rounded(double value, MgType type) {
  return type == MG_BF16 ? fromBf16(toBf16(value)) : type == MG_F32 ? float(value) : value;
}

/// Normally distributed, already rounded to the type.
inline Values randomValues(size_t count, unsigned seed, double scale = 1, MgType type = MG_BF16) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  Values values(count);
  for (double &value : values)
    value = rounded(normal(generator), type);
  return values;
}

inline size_t elementBytes(MgType type) { return type == MG_BF16 ? 2 : type == MG_F64 || type == MG_I64 ? 8 : type == MG_RAW ? 1 : 4; }

/// One launch: operands, parameters, and the buffers behind them.
class Call {
public:
  Call(MgKernel kernel, const char *symbol) : kernel(kernel), symbol(symbol) {}
  Call(const Call &) = delete;
  Call(Call &&other) noexcept
      : kernel(other.kernel), symbol(other.symbol), ints(std::move(other.ints)), reals(std::move(other.reals)),
        shared(std::move(other.shared)) {
    buffers.swap(other.buffers);
  }
  ~Call() {
    for (Buffer &buffer : buffers)
      cudaFree(buffer.device);
  }

  /// An operand with contents; operands of an EACH group are given one after the other under its name.
  Call &give(const std::string &name, MgType type, const Values &values) {
    Buffer buffer = {name, type, std::vector<char>(values.size() * elementBytes(type))};
    for (size_t i = 0; i < values.size(); ++i)
      encode(buffer, i, values[i]);
    return add(std::move(buffer));
  }
  /// An operand whose contents do not matter: bytes that are NaN in every type.
  Call &poisoned(const std::string &name, MgType type, size_t count) {
    return add({name, type, std::vector<char>(count * elementBytes(type), char(0xff))});
  }
  /// Normally distributed contents, a block of random numbers over and over.
  Call &randomized(const std::string &name, MgType type, size_t count, unsigned seed, double scale = 1) {
    Buffer buffer = {name, type, std::vector<char>(count * elementBytes(type))};
    Values block = randomValues(65521, seed, scale, type);
    for (size_t i = 0; i < count; ++i)
      encode(buffer, i, block[i % block.size()]);
    return add(std::move(buffer));
  }
  /// Operand `name` has the memory of `other`.
  Call &share(const std::string &name, const std::string &other) { return shared[name] = other, *this; }
  Call &onStream(cudaStream_t stream) { return context.streams[0] = stream, *this; }
  Call &set(const std::string &name, int64_t value) { return ints[name] = value, *this; }
  Call &setReal(const std::string &name, double value) { return reals[name] = value, *this; }
  Call &at(int64_t number) { return micro_batch = number, *this; }
  Call &in(const MgContext &given) { return context = given, *this; }
  Call &onAxis(int axis, int64_t rank, int64_t size) { return context.axes[axis] = {rank, size, nullptr}, *this; }

  /// Scratch of exactly what the kernel asks for when it gets none; 0 if it asks for none, -1 if it failed otherwise.
  int64_t giveScratch() {
    if (launch() == 0)
      return 0;
    const char *needs = std::strstr(mg_last_error(), "it needs ");
    if (!needs)
      return -1;
    int64_t bytes = std::atoll(needs + 9);
    poisoned("scratch", MG_RAW, size_t(bytes));
    return bytes;
  }

  /// Gives every operand its first contents again.
  void upload() {
    for (Buffer &buffer : buffers)
      require(cudaMemcpy(buffer.device, buffer.contents.data(), buffer.contents.size(), cudaMemcpyHostToDevice));
    require(cudaDeviceSynchronize());
  }

  /// Calls the kernel; does not wait for it.
  int32_t launch() {
    std::vector<void *> operands;
    std::vector<int64_t> bytes, integers;
    std::vector<uint8_t> types;
    std::vector<double> doubles;
    const KernelSignature &signature = find();
    std::istringstream words(signature.operands);
    for (std::string word; words >> word;) {
      size_t colon = word.find(':'), second = word.find(':', colon + 1);
      std::string role = word.substr(0, colon), name = word.substr(colon + 1, second - colon - 1);
      if (shared.count(name))
        name = shared[name];
      bool is_there = false;
      for (Buffer &buffer : buffers)
        if (buffer.name == name) {
          operands.push_back(buffer.device);
          bytes.push_back(int64_t(buffer.contents.size()));
          types.push_back(uint8_t(buffer.type));
          is_there = true;
        }
      if (is_there || role.ends_with("_each"))
        continue;
      operands.push_back(nullptr);
      bytes.push_back(0);
      types.push_back(role == "scratch" ? MG_RAW : MG_ABSENT);
    }
    std::istringstream names(signature.ints), real_names(signature.doubles);
    for (std::string name; names >> name;)
      integers.push_back(ints.at(name));
    for (std::string name; real_names >> name;)
      doubles.push_back(reals.at(name));
    MgLaunch launch = {operands.data(),
                       bytes.data(),
                       types.data(),
                       int64_t(operands.size()),
                       integers.data(),
                       int64_t(integers.size()),
                       doubles.data(),
                       int64_t(doubles.size()),
                       micro_batch,
                       0,
                       0,
                       &context};
    return kernel(&launch);
  }

  /// Uploads, launches twice and compares the bits, the guards too. Empty, or what went wrong.
  std::string run() {
    int64_t scratch = giveScratch();
    require(cudaDeviceSynchronize());
    if (scratch < 0)
      return mg_last_error();
    std::vector<std::vector<char>> first;
    for (int turn = 0; turn < 2; ++turn) {
      upload();
      if (launch())
        return mg_last_error();
      if (cudaError_t status = cudaDeviceSynchronize())
        return cudaGetErrorString(status);
      for (size_t i = 0; i < buffers.size(); ++i) {
        std::vector<char> now(buffers[i].contents.size() + guard_bytes);
        require(cudaMemcpy(now.data(), buffers[i].device, now.size(), cudaMemcpyDeviceToHost));
        for (size_t at = buffers[i].contents.size(); at < now.size(); ++at)
          if (now[at] != guard)
            return buffers[i].name + ": written past its end";
        if (turn == 0)
          first.push_back(std::move(now));
        else if (first[i] != now && buffers[i].name != "scratch")
          return buffers[i].name + ": other bits the second time";
      }
    }
    results.clear();
    for (std::vector<char> &bytes : first)
      results.push_back(std::move(bytes));
    return "";
  }

  /// An operand after run(); `index` counts within an EACH group.
  Values read(const std::string &name, size_t index = 0) const {
    for (size_t i = 0; i < buffers.size(); ++i)
      if (buffers[i].name == name && index-- == 0) {
        Values values(buffers[i].contents.size() / elementBytes(buffers[i].type));
        for (size_t at = 0; at < values.size(); ++at)
          values[at] = decode(buffers[i].type, results[i].data(), at);
        return values;
      }
    std::fprintf(stderr, "%s has no operand %s\n", symbol, name.c_str());
    std::abort();
  }
  /// Its bytes.
  std::vector<char> readBytes(const std::string &name) const {
    for (size_t i = 0; i < buffers.size(); ++i)
      if (buffers[i].name == name)
        return {results[i].begin(), results[i].begin() + int64_t(buffers[i].contents.size())};
    return {};
  }
  /// Bytes of all operands but scratch.
  int64_t totalBytes() const {
    int64_t total = 0;
    for (const Buffer &buffer : buffers)
      if (buffer.name != "scratch")
        total += int64_t(buffer.contents.size());
    return total;
  }

private:
  static constexpr size_t guard_bytes = 256;
  static constexpr char guard = char(0xa5);
  struct Buffer {
    std::string name;
    MgType type;
    std::vector<char> contents;
    char *device = nullptr;
  };

  Call &add(Buffer buffer) {
    require(cudaMalloc(reinterpret_cast<void **>(&buffer.device), buffer.contents.size() + guard_bytes));
    require(cudaMemcpy(buffer.device, buffer.contents.data(), buffer.contents.size(), cudaMemcpyHostToDevice));
    require(cudaMemset(buffer.device + buffer.contents.size(), guard, guard_bytes));
    buffers.push_back(std::move(buffer));
    return *this;
  }
  const KernelSignature &find() const {
    for (const KernelSignature &signature : kernelSignatures)
      if (std::strcmp(signature.symbol, symbol) == 0)
        return signature;
    std::abort();
  }
  static void encode(Buffer &buffer, size_t at, double value) {
    char *to = buffer.contents.data() + at * elementBytes(buffer.type);
    auto put = [&](auto element) { std::memcpy(to, &element, sizeof element); };
    switch (buffer.type) {
    case MG_BF16:
      return put(toBf16(value));
    case MG_F32:
      return put(float(value));
    case MG_I32:
      return put(int32_t(value));
    case MG_I64:
      return put(int64_t(value));
    default:
      return put(value);
    }
  }
  static double decode(MgType type, const char *from, size_t at) {
    auto get = [&](auto element) {
      std::memcpy(&element, from + at * sizeof element, sizeof element);
      return element;
    };
    switch (type) {
    case MG_BF16:
      return fromBf16(get(uint16_t()));
    case MG_F32:
      return get(float());
    case MG_I32:
      return get(int32_t());
    case MG_I64:
      return double(get(int64_t()));
    default:
      return get(double());
    }
  }

  MgKernel kernel;
  const char *symbol;
  std::vector<Buffer> buffers;
  std::vector<std::vector<char>> results;
  std::map<std::string, int64_t> ints;
  std::map<std::string, double> reals;
  std::map<std::string, std::string> shared;
  MgContext context = {};
  int64_t micro_batch = 0;
};

#define MG_CALL(symbol) ::megacc::gpu::Call(symbol, #symbol)

/// Largest difference, relative to the largest expected number; infinite where one is not finite.
inline double relativeError(const Values &actual, const Values &expected) {
  double worst = actual.size() == expected.size() ? 0 : INFINITY, largest = 1e-30;
  for (size_t i = 0; i < expected.size() && i < actual.size(); ++i) {
    worst = std::isfinite(actual[i]) ? std::max(worst, std::abs(actual[i] - expected[i])) : INFINITY;
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / largest;
}

/// Limits on it, conventions of the kernels' tests.
inline double forwardLimit(MgType type) { return type == MG_BF16 ? 1e-2 : 1e-5; }
inline double gradientLimit(MgType type) { return type == MG_BF16 ? 2e-2 : 1e-4; }

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

} // namespace megacc::gpu

/// First line of a test.
#define MG_NEEDS_CARD()                                                                                                                    \
  if (!::megacc::gpu::hasCard())                                                                                                           \
  GTEST_SKIP() << "no CUDA device"

// What the kernel tests share: random tensors, launches, and gradients checked against finite differences of a float64 reference.
#pragma once
#include "megacc/KernelSignatures.h"
#include "megacc/StepABI.h"
#include "runtime/kernels/NumericGradient.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <iterator>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) int32_t symbol(const MgLaunch *launch);
#include "megacc/kernels.def"
const char *mg_last_error();
int32_t mg_cpu_set_threads(int32_t count);
}

namespace megacc::test {

using Values = std::vector<float>;
using Doubles = std::vector<double>;

inline Values randomValues(size_t count, unsigned seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Values values(count);
  for (float &value : values)
    value = normal(generator);
  return values;
}

inline Doubles widen(const Values &values) { return Doubles(values.begin(), values.end()); }

/// An operand by its name in kernels.def. A null pointer: it is absent.
struct Operand {
  std::string name;
  void *data;
  int64_t bytes;
  uint8_t type;

  Operand(std::string name, std::nullptr_t) : name(std::move(name)), data(nullptr), bytes(0), type(MG_ABSENT) {}
  Operand(std::string name, const Values &values) : Operand(std::move(name), values.data(), int64_t(values.size())) {}
  Operand(std::string name, const Doubles &values)
      : name(std::move(name)), data(const_cast<double *>(values.data())), bytes(int64_t(values.size()) * 8), type(MG_F64) {}
  Operand(std::string name, const std::vector<int32_t> &values)
      : name(std::move(name)), data(const_cast<int32_t *>(values.data())), bytes(int64_t(values.size()) * 4), type(MG_I32) {}
  Operand(std::string name, const std::vector<int64_t> &values)
      : name(std::move(name)), data(const_cast<int64_t *>(values.data())), bytes(int64_t(values.size()) * 8), type(MG_I64) {}
  Operand(std::string name, const float *values, int64_t count)
      : name(std::move(name)), data(const_cast<float *>(values)), bytes(values ? count * 4 : 0), type(values ? MG_F32 : MG_ABSENT) {}
  /// Ids of documents: absent where there are none.
  static Operand documents(const std::vector<int32_t> &ids) {
    return ids.empty() ? Operand("documents", nullptr) : Operand("documents", ids);
  }
};

using Ints = std::vector<std::pair<std::string, int64_t>>;
using Reals = std::vector<std::pair<std::string, double>>;

inline std::vector<std::string> splitWords(const std::string &text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;)
    words.push_back(word);
  return words;
}

/// One kernel with its line of kernels.def.
struct Kernel {
  const KernelSignature *signature;
  MgKernel function;
};

inline Kernel findKernel(const std::string &symbol) {
  static const MgKernel functions[] = {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) symbol,
#include "megacc/kernels.def"
  };
  for (size_t i = 0; i < std::size(functions); ++i)
    if (symbol == kernelSignatures[i].symbol)
      return {&kernelSignatures[i], functions[i]};
  throw std::invalid_argument(symbol + " is not in kernels.def");
}

/// A launch in the making: its arrays in the order of kernels.def.
struct Launch {
  Kernel kernel;
  std::vector<void *> operands;
  std::vector<int64_t> bytes, ints;
  std::vector<uint8_t> types;
  std::vector<double> doubles;
  int64_t scratch = -1; // position of the SCRATCH operand
  int64_t micro_batch = 0;
  MgContext context = {};

  /// Checks every name against kernels.def: nothing unknown, nothing missing but optional operands and the scratch.
  Launch(const std::string &symbol, const std::vector<Operand> &given, const Ints &given_ints, const Reals &given_reals)
      : kernel(findKernel(symbol)) {
    for (MgAxis &axis : context.axes)
      axis = {0, 1, nullptr};
    ints = takeParameters<int64_t>(kernel.signature->ints, given_ints);
    doubles = takeParameters<double>(kernel.signature->doubles, given_reals);
    size_t used = 0;
    for (const std::string &word : splitWords(kernel.signature->operands)) {
      std::string role = word.substr(0, word.find(':')), name = word.substr(role.size() + 1, word.rfind(':') - role.size() - 1);
      bool each = role == "in_each" || role == "out_each", found = false;
      for (const Operand &operand : given)
        if (operand.name == name && (each || !found))
          push(operand.data, operand.bytes, operand.type), found = true, ++used;
      if (role == "scratch")
        scratch = int64_t(operands.size()), push(this, 0, MG_RAW);
      else if (!found && role.starts_with("opt"))
        push(nullptr, 0, MG_ABSENT);
      else if (!found && !each)
        ADD_FAILURE() << symbol << " needs the operand " << name;
    }
    EXPECT_EQ(used, given.size()) << symbol << " was given an operand that kernels.def does not list, or one twice";
  }

  int32_t run() {
    MgLaunch launch = {};
    launch.operands = operands.data(), launch.bytes = bytes.data(), launch.types = types.data();
    launch.operand_count = int64_t(operands.size());
    launch.ints = ints.data(), launch.int_count = int64_t(ints.size());
    launch.doubles = doubles.data(), launch.double_count = int64_t(doubles.size());
    launch.micro_batch = micro_batch, launch.context = &context;
    return kernel.function(&launch);
  }

private:
  void push(void *data, int64_t size, uint8_t type) { operands.push_back(data), bytes.push_back(size), types.push_back(type); }

  template <typename T> std::vector<T> takeParameters(const char *names, const std::vector<std::pair<std::string, T>> &given) {
    std::vector<T> values;
    for (const std::string &name : splitWords(names)) {
      size_t before = values.size();
      for (const auto &[key, value] : given)
        if (key == name)
          values.push_back(value);
      EXPECT_EQ(values.size(), before + 1) << kernel.signature->symbol << " needs the parameter " << name << " once";
    }
    EXPECT_EQ(values.size(), given.size()) << kernel.signature->symbol << " was given a parameter that kernels.def does not list";
    return values;
  }
};

/// Runs a launch. Where its kernel wants scratch, a first run without any must fail and say how much; it then gets exactly that, full of
/// NaN, and must not write past it.
inline int32_t run(Launch &launch) {
  int32_t status = launch.run();
  const char *wanted = status ? std::strstr(mg_last_error(), "it needs ") : nullptr;
  if (!wanted || launch.scratch < 0)
    return status;
  size_t bytes = std::stoul(wanted + std::strlen("it needs "));
  std::vector<double> scratch(bytes / 8 + 8, 12345.0);
  std::memset(scratch.data(), 0xff, bytes);
  launch.operands[launch.scratch] = scratch.data(), launch.bytes[launch.scratch] = int64_t(bytes);
  status = launch.run();
  for (size_t i = scratch.size() - 8; i < scratch.size(); ++i)
    EXPECT_EQ(scratch[i], 12345.0) << launch.kernel.signature->symbol << " wrote past its scratch";
  launch.operands[launch.scratch] = &launch, launch.bytes[launch.scratch] = 0;
  return status;
}

/// Calls a kernel; operands and parameters by the names of kernels.def, several operands of one name in order.
inline int32_t call(const std::string &symbol, const std::vector<Operand> &operands, const Ints &ints, const Reals &reals = {},
                    int64_t micro_batch = 0) {
  Launch launch(symbol, operands, ints, reals);
  launch.micro_batch = micro_batch;
  return run(launch);
}

/// Largest difference, relative to the largest expected element.
inline double relativeError(const Values &actual, const Doubles &expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double worst = 0, largest = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::isfinite(actual[i]) ? std::max(worst, std::abs(actual[i] - expected[i])) : INFINITY;
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / largest;
}

} // namespace megacc::test

// Launches compared with kernels.def, for checked builds.
#include "runtime/core/Launch.h"

#include <cstring>

namespace megacc::runtime {

namespace {

/// Goes through one kernel's parameters and operands in the order of kernels.def and records the first difference.
class LaunchChecker {
public:
  LaunchChecker(const MgLaunch *launch, const char *symbol, int64_t ints, int64_t doubles) : launch(launch), symbol(symbol) {
    if (launch->int_count != ints)
      status = mg_fail("%s: the launch has %lld integer parameters, kernels.def lists %lld", symbol, (long long)launch->int_count,
                       (long long)ints);
    else if (launch->double_count != doubles)
      status = mg_fail("%s: the launch has %lld floating point parameters, kernels.def lists %lld", symbol, (long long)launch->double_count,
                       (long long)doubles);
  }

  /// The next integer parameter; 1 after an error, so that sizes can still be computed.
  int64_t nextInt() { return status ? 1 : launch->ints[next_int++]; }

  /// `count` elements of a type class of kernels.def; 0: not checked.
  void checkOperand(const char *role, const char *name, const char *type, int64_t count) {
    int64_t index = next_operand++;
    if (status || index >= launch->operand_count)
      return;
    bool optional = std::strncmp(role, "opt", 3) == 0;
    int64_t bytes = launch->bytes[index];
    if (launch->types[index] == MG_ABSENT) {
      if (!optional || bytes != 0 || launch->operands[index])
        status = mg_fail("%s: operand %s is absent, with %lld bytes at %p; expected %s", symbol, name, (long long)bytes,
                         launch->operands[index], optional ? "no bytes" : "one that is there");
      return;
    }
    int64_t size = elementSize(type, launch->types[index]);
    if (size == 0) {
      status = mg_fail("%s: operand %s has type %d of MgType, expected %s", symbol, name, int(launch->types[index]), type);
    } else if (!launch->operands[index] && bytes != 0) {
      status = mg_fail("%s: operand %s is NULL, expected %lld bytes", symbol, name, (long long)bytes);
    } else if (count != 0 && bytes != count * size) {
      status = mg_fail("%s: operand %s has %lld bytes, expected %lld: %lld elements of %lld bytes", symbol, name, (long long)bytes,
                       (long long)(count * size), (long long)count, (long long)size);
    }
  }

  /// `parts` operands, of which only the number is known.
  void checkEach(int64_t parts) {
    if (!status && parts < 0)
      status = mg_fail("%s: the launch has %lld parts, expected at least 0", symbol, (long long)parts);
    next_operand += parts;
  }

  int32_t finish() {
    if (!status && launch->operand_count != next_operand)
      status = mg_fail("%s: the launch has %lld operands, kernels.def lists %lld", symbol, (long long)launch->operand_count,
                       (long long)next_operand);
    return status;
  }

private:
  /// Bytes of an element of an MgType that the class allows; 0: it does not.
  static int64_t elementSize(const char *type_class, uint8_t type) {
    static const struct {
      const char *type_class;
      uint8_t type;
      int64_t size;
    } allowed[] = {{"any", MG_F32, 4}, {"any", MG_BF16, 2}, {"f32", MG_F32, 4}, {"bf16", MG_BF16, 2},
                   {"f64", MG_F64, 8}, {"i32", MG_I32, 4},  {"i64", MG_I64, 8}, {"raw", MG_RAW, 1}};
    for (const auto &entry : allowed)
      if (entry.type == type && std::strcmp(entry.type_class, type_class) == 0)
        return entry.size;
    return 0;
  }

  const MgLaunch *launch;
  const char *symbol;
  int64_t next_int = 0, next_operand = 0;
  int32_t status = 0;
};

#define MG_OPERAND(role, name, type, count) checker.checkOperand(role, #name, #type, count);
#define OUT(name, type, count) MG_OPERAND("out", name, type, count)
#define OPT_OUT(name, type, count) MG_OPERAND("opt_out", name, type, count)
#define SUM(name, type, count) MG_OPERAND("sum", name, type, count)
#define INOUT(name, type, count) MG_OPERAND("inout", name, type, count)
#define OPT_INOUT(name, type, count) MG_OPERAND("opt_inout", name, type, count)
#define IN(name, type, count) MG_OPERAND("in", name, type, count)
#define OPT_IN(name, type, count) MG_OPERAND("opt_in", name, type, count)
#define SCRATCH(name) MG_OPERAND("scratch", name, raw, 0)
#define TABLE(name, type, count) MG_OPERAND("table", name, type, count)
#define OUT_EACH(name) checker.checkEach(parts);
#define IN_EACH(name) checker.checkEach(parts);
#define INT(name) [[maybe_unused]] const int64_t name = checker.nextInt();
#define DOUBLE(name)
#define MEGACC_KERNEL(symbol, operands, ints, doubles)                                                                                     \
  int32_t check_##symbol(const MgLaunch *launch) {                                                                                         \
    LaunchChecker checker(launch, #symbol, number_##symbol::integer_count, real_##symbol::real_count);                                     \
    ints operands return checker.finish();                                                                                                 \
  }
#include "megacc/kernels.def"

const struct {
  const char *symbol;
  MgKernel check;
} checks[] = {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) {#symbol, check_##symbol},
#include "megacc/kernels.def"
};

} // namespace

int32_t checkLaunch(const MgLaunch *launch, const char *symbol) {
  for (const auto &entry : checks)
    if (std::strcmp(entry.symbol, symbol) == 0)
      return entry.check(launch);
  return mg_fail("%s is not in kernels.def", symbol);
}

} // namespace megacc::runtime

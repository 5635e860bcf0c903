// The kernels of kernels.def.
#include "dialects/Rt/KernelTable.h"

#include "megacc/KernelSignatures.h"
#include "megacc/StepABI.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MathExtras.h"

#include <iterator>

using namespace llvm;

namespace megacc::rt {

namespace {
struct RoleWords {
  StringRef table, launch;
};
} // namespace

/// In the order of Role.
static constexpr RoleWords kRoles[] = {
    {"out", "out"},   {"opt_out", "out"},     {"sum", "sum"},     {"inout", "inout"},  {"opt_inout", "inout"}, {"in", "in"},
    {"opt_in", "in"}, {"scratch", "scratch"}, {"table", "table"}, {"out_each", "out"}, {"in_each", "in"},
};

StringRef getRoleName(Role role) { return kRoles[size_t(role)].launch; }

bool isOptional(Role role) { return role == Role::OptionalOut || role == Role::OptionalInOut || role == Role::OptionalIn; }

ArrayRef<StringRef> getTypeNames() {
  static constexpr StringRef names[] = {"f32", "bf16", "i32", "f64", "i64", "raw"};
  static_assert(std::size(names) == MG_ABSENT);
  return names;
}

StringRef getTypeName(int64_t type) { return getTypeNames()[type]; }

int64_t getTypeWidth(int64_t type) {
  static constexpr int64_t widths[] = {4, 2, 4, 8, 8, 1};
  return widths[type];
}

bool KernelOperand::accepts(int64_t given) const {
  if (isEach())
    return given != MG_RAW;
  return type == "any" ? given == MG_F32 || given == MG_BF16 : type == getTypeName(given);
}

int Kernel::findInt(StringRef name) const {
  auto found = llvm::find(ints, name);
  return found == ints.end() ? -1 : int(found - ints.begin());
}

bool Kernel::acceptsParts(ArrayRef<int64_t> values) const {
  int parts = findInt("parts");
  return parts < 0 || (size_t(parts) < values.size() && values[parts] >= 1 && values[parts] <= kMaxParts);
}

SmallVector<KernelOperand> Kernel::getOperands(ArrayRef<int64_t> values) const {
  int parts = findInt("parts");
  int64_t count = parts >= 0 && acceptsParts(values) ? values[parts] : 0;
  SmallVector<KernelOperand> launched;
  for (const KernelOperand &operand : operands)
    launched.append(operand.isEach() ? count : 1, operand);
  return launched;
}

SmallVector<Role> Kernel::getRoles(ArrayRef<int64_t> values) const {
  return llvm::map_to_vector(getOperands(values), [](const KernelOperand &operand) { return operand.role; });
}

// Numbers of elements.

namespace {

/// An integer of a launch, or what kernels.def computes from several; invalid once 64 bits do not hold it.
class Count {
public:
  Count(int64_t value) : value(value) {}
  Count(int64_t value, bool isValid) : value(value), isValid(isValid) {}

  int64_t get() const { return isValid && value >= 0 ? value : Kernel::kNoCount; }
  explicit operator bool() const { return value; }
  friend bool operator==(Count a, Count b) { return a.value == b.value; }
  friend bool operator>(Count a, Count b) { return a.value > b.value; }
  friend Count operator*(Count a, Count b) {
    int64_t result;
    bool overflows = MulOverflow(a.value, b.value, result);
    return {result, a.isValid && b.isValid && !overflows};
  }
  friend Count operator+(Count a, Count b) {
    int64_t result;
    bool overflows = AddOverflow(a.value, b.value, result);
    return {result, a.isValid && b.isValid && !overflows};
  }
  friend Count operator-(Count a, Count b) {
    int64_t result;
    bool overflows = SubOverflow(a.value, b.value, result);
    return {result, a.isValid && b.isValid && !overflows};
  }
  friend Count operator/(Count a, Count b) {
    bool isValid = a.isValid && b.isValid && b.value > 0;
    return {isValid ? a.value / b.value : 0, isValid};
  }

private:
  int64_t value;
  bool isValid = true;
};

using Counts = SmallVector<std::optional<int64_t>>;

} // namespace

#define MG_COUNT(count) counts.push_back(StringRef(#count) == "0" ? std::optional<int64_t>() : Count(count).get());
#define OUT(name, type, count) MG_COUNT(count)
#define OPT_OUT(name, type, count) MG_COUNT(count)
#define SUM(name, type, count) MG_COUNT(count)
#define INOUT(name, type, count) MG_COUNT(count)
#define OPT_INOUT(name, type, count) MG_COUNT(count)
#define IN(name, type, count) MG_COUNT(count)
#define OPT_IN(name, type, count) MG_COUNT(count)
#define SCRATCH(name) MG_COUNT(0)
#define TABLE(name, type, count) MG_COUNT(count)
#define OUT_EACH(name) counts.append(parts.get(), std::nullopt);
#define IN_EACH(name) counts.append(parts.get(), std::nullopt);
#define INT(name) [[maybe_unused]] const Count name = *integer++;
#define DOUBLE(name)
#define MEGACC_KERNEL(symbol, operands, ints, doubles)                                                                                     \
  static Counts getCounts_##symbol(ArrayRef<int64_t> integers) {                                                                           \
    [[maybe_unused]] const int64_t *integer = integers.begin();                                                                            \
    Counts counts;                                                                                                                         \
    ints operands return counts;                                                                                                           \
  }
#include "megacc/kernels.def"
#undef MG_COUNT

/// In the order of kernels.def, as kernelSignatures.
static constexpr Counts (*kCounts[])(ArrayRef<int64_t>) = {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) getCounts_##symbol,
#include "megacc/kernels.def"
};

// The table.

static SmallVector<StringRef> splitWords(StringRef text) {
  SmallVector<StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  return words;
}

static Kernel readKernel(const KernelSignature &signature) {
  Kernel kernel{signature.symbol,
                signature.text,
                {},
                splitWords(signature.ints),
                splitWords(signature.doubles),
                kCounts[&signature - std::begin(kernelSignatures)]};
  for (StringRef word : splitWords(signature.operands)) {
    auto [role, rest] = word.split(':');
    auto [name, type] = rest.split(':');
    const RoleWords *found = llvm::find_if(kRoles, [&](const RoleWords &words) { return words.table == role; });
    kernel.operands.push_back({Role(found - std::begin(kRoles)), name, type});
  }
  return kernel;
}

const Kernel *findKernel(StringRef symbol) {
  static const StringMap<Kernel> table = [] {
    StringMap<Kernel> kernels;
    for (const KernelSignature &signature : kernelSignatures)
      kernels[signature.symbol] = readKernel(signature);
    return kernels;
  }();
  auto found = table.find(symbol);
  return found == table.end() ? nullptr : &found->second;
}

} // namespace megacc::rt

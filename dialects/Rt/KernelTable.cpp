//===- KernelTable.cpp - the kernels of kernels.def -----------------------===//
#include "dialects/Rt/KernelTable.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;

namespace megacc::rt {

StringRef getRoleName(Role role) {
  static const StringRef names[] = {"out", "inout", "in", "opt", "optout", "workspace"};
  return names[size_t(role)];
}

int Kernel::findInt(StringRef name) const {
  auto found = llvm::find(ints, name);
  return found == ints.end() ? -1 : int(found - ints.begin());
}

SmallVector<Role> Kernel::getRoles(ArrayRef<int64_t> values) const {
  SmallVector<Role> roles;
  for (const KernelOperand &operand : operands)
    roles.append(operand.repeated ? values[findInt("parts")] : 1, operand.role);
  return roles;
}

static SmallVector<StringRef> splitWords(StringRef text) {
  SmallVector<StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  return words;
}

static Kernel readKernel(StringRef symbol, StringRef operands, StringRef ints, StringRef doubles) {
  Kernel kernel{symbol, (operands + " | " + ints + " | " + doubles).str(), {}, splitWords(ints), splitWords(doubles)};
  kernel.repeatsInt = !kernel.ints.empty() && kernel.ints.back().consume_back("...");
  for (StringRef word : splitWords(operands)) {
    auto [role, name] = word.split(':');
    KernelOperand operand{StringSwitch<Role>(role)
                              .Case("out", Role::Out)
                              .Case("inout", Role::InOut)
                              .Case("opt", Role::Optional)
                              .Case("optout", Role::OptionalOut)
                              .Case("workspace", Role::Workspace)
                              .Default(Role::In),
                          name};
    operand.repeated = operand.name.consume_back("...");
    kernel.operands.push_back(operand);
  }
  return kernel;
}

const Kernel *findKernel(StringRef symbol) {
  static const StringMap<Kernel> table = [] {
    StringMap<Kernel> kernels;
#define MEGACC_KERNEL(symbol, operands, ints, doubles) kernels[#symbol] = readKernel(#symbol, operands, ints, doubles);
#include "megacc/kernels.def"
    return kernels;
  }();
  auto found = table.find(symbol);
  return found == table.end() ? nullptr : &found->second;
}

} // namespace megacc::rt

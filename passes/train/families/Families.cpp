//===- Families.cpp - which block families have a builder -----------------===//
#include "passes/train/ForwardBuilder.h"

#include "llvm/ADT/StringSwitch.h"

namespace megacc::step {

FamilyBuilder findFamilyBuilder(llvm::StringRef kind) {
  return llvm::StringSwitch<FamilyBuilder>(kind)
      .Case("attention", buildAttention)
      .Case("m2rnn", buildM2rnn)
      .Case("mamba3", buildMamba3)
      .Case("mla", buildMla)
      .Case("mlp", buildMlp)
      .Case("moe", buildMoe)
      .Default(nullptr);
}

} // namespace megacc::step

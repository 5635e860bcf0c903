//===- Placements.cpp - which placements on input and objective are built -===//
#include "passes/train/ForwardBuilder.h"

#include "llvm/ADT/StringSwitch.h"

namespace megacc::step {

InputBuilder findInputBuilder(llvm::StringRef kind) {
  return llvm::StringSwitch<InputBuilder>(kind).Case("ngram_hash", buildNgramHash).Default(nullptr);
}

ObjectiveBuilder findObjectiveBuilder(llvm::StringRef kind) {
  return llvm::StringSwitch<ObjectiveBuilder>(kind).Case("mtp", buildMtp).Default(nullptr);
}

} // namespace megacc::step

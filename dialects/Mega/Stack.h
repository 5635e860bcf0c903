// Between the checked declaration and the stack of blocks: keys as attributes, and back.
#pragma once
#include "dialects/Mega/Mega.h"
#include "dialects/Mega/Model.h"

namespace megacc::mega {

/// A kind with all its keys, in the order of their names.
KindAttr makeKind(mlir::MLIRContext *context, llvm::StringRef word, const KeyValues &keys);

/// The keys of a kind that makeKind wrote; nested tables are left out.
KeyValues readKeys(KindAttr kind);

/// A kind with all its keys as a dictionary of plain attributes: words and strings are strings, the kind's own is under "kind".
mlir::DictionaryAttr makeTable(mlir::MLIRContext *context, llvm::StringRef word, const KeyValues &keys);

/// Train settings with every default written out; `mesh`, `memory`, `recompute` and `psiv_cache` stay as they were in `given`.
KindAttr makeSettings(mlir::MLIRContext *context, const Train &train, KindAttr given);

/// The models of a module of stacks, in order; `train` where a mega.train names the stack.
std::vector<Model> readStacks(mlir::ModuleOp module);

/// Gives every mega.train of `model` (of all models, if empty) this value for a key, as if it had been written there.
void setTrainKey(mlir::ModuleOp module, llvm::StringRef model, llvm::StringRef key, mlir::Attribute value);

} // namespace megacc::mega

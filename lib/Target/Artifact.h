// step.so as a file: linked, hashed, and complete or not there.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace megacc {

/// Writes `bytes` to `path` through a temporary file beside it, so that `path` is whole or as it was. Links are followed. A device, a pipe
/// or a descriptor of this process ("-" and /dev/stdout are the first) is written to instead.
llvm::Error writeFile(llvm::StringRef path, llvm::ArrayRef<char> bytes, bool isExecutable);

/// Links an object into a shared object, in this process, and appends the trailer of StepABI.h.
llvm::Expected<llvm::SmallVector<char>> linkStep(llvm::ArrayRef<char> object);

} // namespace megacc

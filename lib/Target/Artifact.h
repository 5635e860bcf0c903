// step.so as a file: linked, hashed, and complete or not there.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace megacc {

struct OutputFile {
  std::string path;
  std::string bytes;
  bool isExecutable = false;
};

/// Writes all of them or, where one cannot be written, none; the error names that one. Each goes through a temporary file beside it, so
/// that it is whole or as it was. Links are followed. A device, a pipe or a descriptor of this process ("-" and /dev/stdout are the first)
/// is written to instead, when all that is beside it can be put in its place.
llvm::Error writeFiles(llvm::ArrayRef<OutputFile> files);

/// Links an object into a shared object, in this process, and appends the trailer of StepABI.h.
llvm::Expected<llvm::SmallVector<char>> linkStep(llvm::ArrayRef<char> object);

} // namespace megacc

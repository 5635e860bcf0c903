// A step.so before it is opened: its hash, and its descriptor found through the ELF symbol table.
#pragma once
#include "runtime/core/Descriptor.h"
#include "runtime/core/OpenFile.h"

#include <memory>
#include <string>

namespace megacc::runtime {

/// The file is read once. What is opened as code is a copy in memory of the bytes that were checked, whatever happens to the file.
class Artifact {
public:
  /// Reads the file and checks the hash at its end. Throws ArtifactError.
  explicit Artifact(const std::string &path);

  /// The text of the descriptor.
  const std::string &descriptor() const { return text; }
  /// At its end: of all bytes before, 32 hexadecimal digits.
  const std::string &hash() const { return digits; }
  /// Opens it as code; closed with the last copy of the handle. Throws ArtifactError.
  std::shared_ptr<void> open() const;

private:
  std::string path, text, digits;
  OpenFile copy;
};

} // namespace megacc::runtime

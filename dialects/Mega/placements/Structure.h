// The components of structure embeddings.
#pragma once
#include "dialects/Mega/KeyTable.h"

namespace megacc::mega {

struct Component {
  llvm::StringRef name;
  int64_t size; // rows of its table
};

/// The components in use in their fixed order, with the sizes that `sizes` gives (conventions 11.5).
std::vector<Component> structureComponents(const KeyValues &keys);

} // namespace megacc::mega

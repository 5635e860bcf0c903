// Names of functions that several levels know.
#pragma once
#include "llvm/ADT/StringRef.h"

#include <string>

namespace megacc {

/// "intervene.K": what the K-th intervention of a declaration does, from 0.
inline std::string getInterventionName(size_t number) { return "intervene." + std::to_string(number); }
/// Whether a function is one of these.
inline bool isIntervention(llvm::StringRef function) { return function.starts_with("intervene."); }

} // namespace megacc

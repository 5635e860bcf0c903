// What a context owns besides its streams, what MgContext::library points to.
#pragma once
#include "runtime/cuda/Nccl.h"

#include <vector>

namespace megacc::runtime::cuda {

struct Library {
  std::vector<cudaEvent_t> events; // that order the streams
  Communicators communicators;
};

inline const Communicators &communicatorsOf(const MgContext *context) { return static_cast<Library *>(context->library)->communicators; }

} // namespace megacc::runtime::cuda

// Whether a card can run these kernels.
#pragma once
#include <string>

namespace megacc::runtime::cuda {

/// What the driver says. Versions as CUDA writes them: 1000 * major + 10 * minor.
struct CardFacts {
  int driver = 0;           // the newest CUDA that the driver supports, 0 without a driver
  int needed = 0;           // the CUDA that the kernels were built with
  int count = 0;            // cards that this process sees
  std::string said;         // CUDA's message about them
  int place = 0;            // which of them this process takes: its place among the ranks of the machine
  std::string name;         // of that card
  int major = 0, minor = 0; // its compute capability
};

/// Empty if the driver serves and there is a card at `place`; else why not, and what to do.
std::string refuseDriver(const CardFacts &facts);
/// Empty if the card is one that the kernels are for; else why not, and what to do.
std::string refuseCard(const CardFacts &facts);
/// Empty if a plan fits into what the card has free; else why not, and what to do. Bytes.
std::string refuseSize(long long planned, long long unused, long long all);

} // namespace megacc::runtime::cuda

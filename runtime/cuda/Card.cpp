#include "runtime/cuda/Card.h"

namespace megacc::runtime::cuda {

static std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

std::string refuseDriver(const CardFacts &facts) {
  if (facts.driver == 0)
    return "there is no NVIDIA driver on this machine; fix: compile with --target=cpu, or run where an H100 or H200 is";
  if (facts.driver < facts.needed)
    return "the driver supports CUDA " + version(facts.driver) + ", these kernels need " + version(facts.needed) + "; fix: a newer driver";
  if (facts.count == 0)
    return "there is no card to run on (CUDA says \"" + facts.said + "\"); fix: compile with --target=cpu, or see CUDA_VISIBLE_DEVICES";
  if (facts.place >= facts.count)
    return "this is rank " + std::to_string(facts.place) + " of its machine, which has " + std::to_string(facts.count) +
           " cards; fix: at most as many ranks on a machine as it has cards";
  return "";
}

std::string refuseCard(const CardFacts &facts) {
  if (facts.major == 9 && facts.minor == 0)
    return "";
  return "the card is a " + facts.name + " with compute capability " + std::to_string(facts.major) + "." + std::to_string(facts.minor) +
         ", these kernels need 9.0 (H100, H200); fix: compile with --target=cpu, or run where such a card is";
}

std::string refuseSize(long long planned, long long unused, long long all) {
  if (planned <= unused)
    return "";
  return "the plan needs " + std::to_string(planned) + " bytes, the card has " + std::to_string(unused) + " of " + std::to_string(all) +
         " free; fix: compile with --memory=" + std::to_string(unused >> 20) +
         "MiB, a smaller --micro-batch, or end what else uses the card";
}

} // namespace megacc::runtime::cuda

// Fewer rotated channels in one block, or none (conventions 6.9).
#include "passes/train/Builders.h"

namespace megacc::step {
namespace {

class Nope : public BlockHooks {
public:
  explicit Nope(const mega::Feature &feature) : share(feature.keys.getFloat("share")) {}
  double getUnturned() const override { return share; }

private:
  double share;
};

} // namespace

std::unique_ptr<BlockHooks> buildNope(const mega::Feature &feature) { return std::make_unique<Nope>(feature); }

} // namespace megacc::step

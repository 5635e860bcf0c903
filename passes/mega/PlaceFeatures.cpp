#include "dialects/Mega/Stack.h"
#include "passes/mega/Passes.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::mega {
#define GEN_PASS_DEF_MEGAPLACEFEATURES
#include "passes/mega/Passes.h.inc"

namespace {

struct MegaPlaceFeatures : impl::MegaPlaceFeaturesBase<MegaPlaceFeatures> {
  void runOnOperation() override {
    for (auto stack : getOperation().getOps<StackOp>())
      for (auto place : llvm::make_early_inc_range(stack.getBody().getOps<PlaceOp>()))
        if (place.getOnLetter()) {
          distribute(stack, place);
          place.erase();
        }
  }

private:
  void distribute(StackOp stack, PlaceOp place) {
    SmallVector<int64_t> ranks;
    for (Attribute rank : place.getRanksAttr())
      ranks.push_back(cast<IntegerAttr>(rank).getInt());
    llvm::sort(ranks);
    for (auto block : stack.getBody().getOps<BlockOp>()) {
      auto found = llvm::find(ranks, block.getRank());
      if (!block.getLetter().equals_insensitive(place.getTarget()) || found == ranks.end())
        continue;
      KeyValues keys = readKeys(place.getKind());
      keys.set("order", int64_t(found - ranks.begin()));
      StringRef kind = place.getKind().getWord();
      SmallVector<Attribute> features(block.getFeatures().begin(), block.getFeatures().end());
      features.push_back(makeKind(&getContext(), kind, keys));
      block.setFeaturesAttr(ArrayAttr::get(&getContext(), features));
      // Errors about the feature point to where it was placed.
      Location where = NameLoc::get(StringAttr::get(&getContext(), "feature." + kind), opLocation(place));
      SmallVector<Location> all = {opLocation(block)};
      if (auto fused = dyn_cast<FusedLoc>(block.getLoc()))
        all.assign(fused.getLocations().begin(), fused.getLocations().end());
      all.push_back(where);
      block->setLoc(FusedLoc::get(all, StringAttr::get(&getContext(), "keys"), &getContext()));
    }
  }
};

} // namespace
} // namespace megacc::mega

#include "dialects/Mega/Stack.h"
#include "passes/mega/Passes.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace megacc::mega {
#define GEN_PASS_DEF_MEGAEXPANDPATTERN
#include "passes/mega/Passes.h.inc"

namespace {

struct MegaExpandPattern : impl::MegaExpandPatternBase<MegaExpandPattern> {
  void runOnOperation() override {
    FailureOr<std::vector<Model>> models = readModels(getOperation());
    if (failed(models))
      return signalPassFailure();
    SmallVector<ModelOp> declared(getOperation().getOps<ModelOp>());
    for (auto [op, model] : llvm::zip_equal(declared, *models))
      expand(op, model);
    for (auto train : getOperation().getOps<TrainOp>())
      for (const Model &model : *models)
        if (model.name == train.getModel())
          train.setSettingsAttr(makeSettings(&getContext(), *model.train, train.getSettings()));
  }

private:
  void expand(ModelOp op, const Model &model) {
    OpBuilder builder(op);
    KindAttr norm = model.norm.kind == "rms" ? KindAttr() : makeKind(&getContext(), model.norm.kind, model.norm.keys);
    Attribute scale = model.layer_scale == 0 ? Attribute() : builder.getF64FloatAttr(model.layer_scale);
    auto stack =
        StackOp::create(builder, op.getLoc(), model.name, model.hidden, model.vocab, model.sequence, model.stage_cuts, norm, scale);
    builder.setInsertionPointToEnd(&stack.getBody().emplaceBlock());
    std::map<char, Location> places;
    for (auto family : op.getBody().getOps<FamilyOp>())
      places.emplace(llvm::toUpper(family.getLetter().front()), family.getLoc());
    auto getLetter = [&](char letter) { return builder.getStringAttr(StringRef(&letter, 1)); };
    for (const Block &block : model.blocks)
      BlockOp::create(builder, opLocation(op), builder.getI64IntegerAttr(block.slot), getLetter(block.letter),
                      builder.getI64IntegerAttr(block.rank), makeKind(&getContext(), block.kind, block.keys), builder.getArrayAttr({}));
    for (const auto &[letter, family] : model.families)
      FamilyOp::create(builder, places.at(letter), getLetter(letter), makeKind(&getContext(), family.first, family.second));
    for (auto place : op.getBody().getOps<PlaceOp>())
      PlaceOp::create(builder, place.getLoc(), makeKind(&getContext(), place.getKind().getWord(), findKeys(place, model)),
                      place.getTargetAttr(), place.getOnLetterAttr(), place.getRanksAttr());
    op.erase();
  }

  /// The typed keys of a placement, those on blocks as their first block has them.
  static const KeyValues &findKeys(PlaceOp place, const Model &model) {
    StringRef kind = place.getKind().getWord();
    if (!place.getOnLetter())
      return model.find(kind)->keys;
    int64_t rank = cast<IntegerAttr>(place.getRanksAttr()[0]).getInt();
    char letter = llvm::toUpper(place.getTarget().front());
    auto block = llvm::find_if(model.blocks, [&](const Block &candidate) { return candidate.letter == letter && candidate.rank == rank; });
    return block->find(kind)->keys;
  }
};

} // namespace
} // namespace megacc::mega

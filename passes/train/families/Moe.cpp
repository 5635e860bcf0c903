// Routed and shared experts (conventions section 7).
#include "dialects/Mega/families/Moe.h"
#include "passes/train/ForwardBuilder.h"

using namespace mlir;

namespace megacc::step {

/// Scores, picks and losses of the router.
static MoeRouteOp buildRoute(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  OpBuilder &ops = builder.getBuilder();
  bool sigmoid = keys.getText("router") == "sigmoid";
  int64_t rows = getDim(n, 0), experts = keys.getInt("experts"), slots = mega::expertSlots(keys), kept = std::min(slots, experts);
  auto number = [&](int64_t value) { return ops.getI64IntegerAttr(value); };
  auto real = [&](StringRef key) { return ops.getF64FloatAttr(keys.getFloat(key)); };
  RankedTensorType picks = builder.getI32Type({rows, kept}), loss = builder.getF32Type({1});
  RankedTensorType sums = RankedTensorType::get({2 * experts + 1}, ops.getF64Type());

  Value logits = builder.linear(n, "router"), bias = sigmoid ? builder.read("router.bias", "router_bias") : Value();
  auto route =
      MoeRouteOp::create(ops, builder.getLoc("route"), builder.getF32Type({rows, kept}), picks, picks, builder.getI32Type({experts + 1}),
                         logits, bias, number(experts), number(slots), number(mega::nullExperts(keys)),
                         sigmoid ? ops.getUnitAttr() : UnitAttr(), real("scale"), real("aux"), real("z"));
  if (builder.isTraining()) {
    Value statistics = MoeStatisticsOp::create(ops, builder.getLoc("statistics"), sums, logits, route.getOffsets(), route.getExpertsAttr(),
                                               route.getNullsAttr(), route.getSigmoidAttr());
    auto losses =
        MoeLossesOp::create(ops, builder.getLoc("losses"), loss, loss, statistics, number(rows), number(experts), real("aux"), real("z"));
    builder.addLossTerm("moe_aux", losses.getAuxLoss());
    if (keys.getFloat("z") != 0)
      builder.addLossTerm("moe_z", losses.getZLoss());
    auto parameter = sigmoid ? FlatSymbolRefAttr::get(ops.getContext(), builder.getKey("router.bias")) : FlatSymbolRefAttr();
    MoeCountPicksOp::create(ops, builder.getLoc("router_bias"), route.getOffsets(), ops.getStringAttr("picks." + builder.getPlace()),
                            parameter, real("bias_rate"));
  }
  return route;
}

/// The experts' part: `x` has their rows, which begin at `offsets`, and `weights` a number for each.
static Value buildExperts(ForwardBuilder &builder, const mega::KeyValues &keys, Value x, Value weights, Value offsets, int64_t expected) {
  x = builder.hiddenUnits(builder.groupedLinear(x, offsets, expected, "experts.up"), keys.getText("activation"), "experts.up", offsets);
  // Before the product rather than after it: the same sum, and its gradient needs rows of the experts' width, not of the model's.
  x = RowScaleOp::create(builder.getBuilder(), builder.getLoc("scale"), x.getType(), x, weights);
  return builder.groupedLinear(x, offsets, expected, "experts.down");
}

/// The same where ranks share the experts: rows and their weights go to the ranks of their experts, and rows come back.
static Value buildSharedExperts(ForwardBuilder &builder, const mega::KeyValues &keys, Value x, Value weights, MoeRouteOp route,
                                int64_t expected) {
  OpBuilder &ops = builder.getBuilder();
  int64_t ranks = builder.getModel().train->mesh[MG_EP], kept = getDim(route.getChoice(), 1), tokens = getDim(x, 0) / kept;
  int64_t most = std::min(kept, int64_t(route.getExperts()) / ranks), received = ranks * tokens * most;
  auto number = [&](int64_t value) { return ops.getI64IntegerAttr(value); };
  auto exchange = [&](StringRef name, Value rows, RankedTensorType type) {
    return ExchangeRowsOp::create(ops, builder.getLoc(name), type, route.getOffsets().getType(), rows, route.getOffsets(), number(kept),
                                  number(most), number(ranks), number(MG_EP));
  };
  Value own_weights = exchange("exchange_weights", weights, builder.getF32Type({received, 1})).getMine();
  auto own = exchange("exchange", x, builder.getType({received, getDim(x, 1)}));
  Value mine = buildExperts(builder, keys, own.getMine(), own_weights, own.getOwnOffsets(), expected);
  return ReturnRowsOp::create(ops, builder.getLoc("return"), x.getType(), mine, route.getOffsets(), number(kept), number(most),
                              number(ranks), number(MG_EP));
}

Value buildMoe(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  OpBuilder &ops = builder.getBuilder();
  StringRef activation = keys.getText("activation");
  MoeRouteOp route = buildRoute(builder, keys, n);
  Value offsets = route.getOffsets(), position = route.getPosition();

  int64_t rows = getCount(position), expected = getDim(n, 0) * keys.getInt("top_k");
  Value x = MoeDispatchOp::create(ops, builder.getLoc("dispatch"), builder.getType({rows, getDim(n, 1)}), n, position, offsets);
  Value weights =
      MoeDispatchWeightsOp::create(ops, builder.getLoc("weights"), builder.getF32Type({rows, 1}), route.getWeights(), position, offsets);
  x = builder.getModel().train->mesh[MG_EP] > 1 ? buildSharedExperts(builder, keys, x, weights, route, expected)
                                                : buildExperts(builder, keys, x, weights, offsets, expected);
  Value y = MoeCombineOp::create(ops, builder.getLoc("combine"), n.getType(), x, position, offsets);

  if (!keys.getInt("shared"))
    return y;
  Value shared = builder.linear(builder.hiddenUnits(builder.linear(n, "shared.up"), activation, "shared.up"), "shared.down");
  if (keys.getBool("shared_gate"))
    shared = RowGateOp::create(ops, builder.getLoc("shared_gate"), shared.getType(), shared, builder.linear(n, "shared.gate"));
  return builder.add(y, shared, "shared");
}

} // namespace megacc::step

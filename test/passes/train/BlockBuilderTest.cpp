// Where placements join a block, each hook driven by a placement made for the test.
#include "passes/train/BlockBuilder.h"

#include "dialects/Mega/Parameters.h"
#include "mlir/IR/Verifier.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

namespace {

constexpr int64_t kBatch = 2, kSequence = 4, kHidden = 8;

/// A function with the input stream x of one block of a family, and what building that gave.
class BlockBuilderTest : public testing::Test {
protected:
  BlockBuilderTest() {
    context.loadDialect<StepDialect>();
    model.hidden = kHidden, model.vocab = 16, model.sequence = kSequence, model.depth = 1;
    model.train.emplace().micro_batch = kBatch;
  }

  /// One block of this kind with one placement called "probe"; `streams` streams come in.
  Stream build(StringRef kind, const mega::KeyValues &keys, std::unique_ptr<BlockHooks> hooks, int64_t streams = 1) {
    block = {0, 'X', 0, kind.str(), keys, {}};
    mega::ParameterList list(model);
    mega::addBlockParameters(list, "blocks.0", block);
    list.normal("probe.proj.weight", {kHidden, kHidden});
    OpBuilder ops(&context);
    module = ModuleOp::create(ops.getUnknownLoc());
    ops.setInsertionPointToEnd(module->getBody());
    for (const mega::Parameter &parameter : list.take()) {
      RankedTensorType type = types[parameter.name] = RankedTensorType::get(parameter.shape, ops.getF32Type());
      ParameterOp::create(ops, ops.getUnknownLoc(), ops.getStringAttr(parameter.name), TypeAttr::get(type), UnitAttr(), ops.getUnitAttr(),
                          InitializerAttr::get(ops.getContext(), Initializer::constant), ops.getF64FloatAttr(parameter.a),
                          ops.getI64IntegerAttr(0), StringAttr(), TypeAttr(), DenseI64ArrayAttr(), IntegerAttr());
    }
    func = FuncOp::create(ops, ops.getUnknownLoc(), ops.getStringAttr("micro_batch"));
    ops.setInsertionPointToEnd(&func.getBody().emplaceBlock());
    ReturnOp::create(ops, ops.getUnknownLoc());

    builder.emplace(model, types, ops.getF32Type(), func, /*training=*/true);
    in = {InputOp::create(builder->getBuilder(), builder->getLoc("x"), builder->getType({kBatch * kSequence, streams * kHidden}),
                          ops.getStringAttr("x")),
          streams, "embedding"};
    std::vector<PlacedHooks> placed;
    placed.push_back({"probe", std::move(hooks)});
    return buildBlock(*builder, block, "blocks.0", in, placed);
  }

  static mega::KeyValues mlp() {
    mega::KeyValues keys;
    keys.set("width", int64_t(12));
    keys.set("activation", std::string("gelu"));
    return keys;
  }

  /// The only op of a type.
  template <typename Op> Op only() {
    SmallVector<Op> found(func.getBody().getOps<Op>());
    EXPECT_EQ(found.size(), 1u);
    return found.front();
  }

  static std::string place(Operation *op) { return cast<NameLoc>(op->getLoc()).getName().str(); }

  MLIRContext context;
  mega::Model model;
  mega::Block block;
  llvm::StringMap<RankedTensorType> types;
  OwningOpRef<ModuleOp> module;
  FuncOp func;
  std::optional<ForwardBuilder> builder;
  Stream in;
};

TEST_F(BlockBuilderTest, WithoutHooksItIsNormMixerAndResidual) {
  Stream out = build("mlp", mlp(), std::make_unique<BlockHooks>());
  auto residual = out.value.getDefiningOp<AddOp>();
  ASSERT_TRUE(residual);
  EXPECT_EQ(place(residual), "blocks.0/residual");
  EXPECT_EQ(residual.getA(), in.value);
  EXPECT_EQ(place(residual.getB().getDefiningOp()), "blocks.0.mixer/down");
  EXPECT_EQ(only<RmsNormOp>().getX(), in.value);
  EXPECT_EQ(only<RmsNormOp>().getNonfinite(), "nonfinite.embedding");
  EXPECT_EQ(out.source, "blocks.0");
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(BlockBuilderTest, OutputsCanBeAskedForLater) {
  Stream out = build("mlp", mlp(), std::make_unique<BlockHooks>());
  ASSERT_EQ(builder->getKept("blocks.0").size(), 1u);
  EXPECT_EQ(builder->getKept("blocks.0").front(), out.value);
  EXPECT_TRUE(builder->getKept("blocks.1").empty());
}

/// Half of the rows enter the block; the rest passes it by.
struct FewerRows : BlockHooks {
  Value before(ForwardBuilder &builder, Value x) override {
    whole = cast<RankedTensorType>(x.getType());
    return pick(builder, builder.getType({whole.getDimSize(0) / 2, whole.getDimSize(1)}), x);
  }
  Value after(ForwardBuilder &builder, Value d) override { return pick(builder, whole, d); }
  static Value pick(ForwardBuilder &builder, RankedTensorType type, Value x) {
    return EmbeddingOp::create(builder.getBuilder(), builder.getLoc("pick"), type, x, builder.input("rows", {type.getDimSize(0)}),
                               builder.getBuilder().getI64IntegerAttr(-1), StringAttr());
  }
  RankedTensorType whole;
};

TEST_F(BlockBuilderTest, BeforeChoosesTheRowsAndAfterUndoesIt) {
  Stream out = build("mlp", mlp(), std::make_unique<FewerRows>());
  EXPECT_EQ(getDim(only<RmsNormOp>().getX(), 0), kBatch * kSequence / 2);
  EXPECT_EQ(getDim(only<ActivationOp>().getX(), 0), kBatch * kSequence / 2);
  auto residual = out.value.getDefiningOp<AddOp>();
  EXPECT_EQ(residual.getA(), in.value);
  EXPECT_EQ(place(residual.getB().getDefiningOp()), "blocks.0.probe/pick");
  EXPECT_EQ(getDim(out.value, 0), kBatch * kSequence);
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(BlockBuilderTest, OpsOfASequenceTakeItsLengthFromTheirRows) {
  mega::KeyValues keys;
  for (StringRef key : {"heads", "kv_heads"})
    keys.set(key, int64_t(2));
  keys.set("head_dim", int64_t(4));
  keys.set("rope", int64_t(4));
  keys.set("theta", 10000.0);
  build("attention", keys, std::make_unique<FewerRows>());
  EXPECT_EQ(only<AttentionOp>().getSequence(), uint64_t(kSequence / 2));
  EXPECT_EQ(getDim(only<AttentionOp>().getY(), 0), kBatch * kSequence / 2);
  EXPECT_TRUE(succeeded(verify(*module)));
}

/// The block reads twice the mean of the streams and leaves one.
struct ReadsAndWrites : BlockHooks {
  Value read(ForwardBuilder &builder, const Stream &stream) override { return builder.sumGroups(stream.value, stream.count, 1.0, "read"); }
  std::optional<Stream> write(ForwardBuilder &builder, const Stream &stream, Value d) override {
    return Stream{builder.add(getMean(builder, stream), d, "write")};
  }
};

TEST_F(BlockBuilderTest, APlacementReadsAndWritesTheStreams) {
  Stream out = build("mlp", mlp(), std::make_unique<ReadsAndWrites>(), /*streams=*/2);
  EXPECT_EQ(place(only<RmsNormOp>().getX().getDefiningOp()), "blocks.0.probe/read");
  EXPECT_EQ(out.count, 1);
  EXPECT_EQ(place(out.value.getDefiningOp()), "blocks.0.probe/write");
  EXPECT_EQ(builder->getKept("blocks.0").front(), out.value);
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(BlockBuilderTest, ABlockWithoutPlacementReadsTheMeanAndJoinsEveryStream) {
  Stream out = build("mlp", mlp(), std::make_unique<BlockHooks>(), /*streams=*/2);
  auto mean = only<RmsNormOp>().getX().getDefiningOp<SumGroupsOp>();
  ASSERT_TRUE(mean);
  EXPECT_EQ(mean.getX(), in.value);
  EXPECT_EQ(mean.getScale().convertToDouble(), 0.5);
  EXPECT_EQ(out.count, 2);
  auto residual = out.value.getDefiningOp<AddOp>();
  ASSERT_TRUE(residual);
  EXPECT_EQ(residual.getA(), in.value);
  EXPECT_EQ(place(residual.getB().getDefiningOp<RepeatGroupsOp>().getX().getDefiningOp()), "blocks.0.mixer/down");
  EXPECT_TRUE(succeeded(verify(*module)));
  // Who asks for the block's output gets the mean of its streams; that nobody asked for it leaves no trace.
  auto kept = builder->getKept("blocks.0").front().getDefiningOp<SumGroupsOp>();
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept.getX(), out.value);
  builder->eraseUnusedKept();
  EXPECT_EQ(only<SumGroupsOp>(), mean);
}

struct Beside : BlockHooks {
  Value beside(ForwardBuilder &builder, Value n) override { return builder.linear(n, "proj"); }
};

TEST_F(BlockBuilderTest, WhatStandsBesideTheMixerJoinsTheResidual) {
  Stream out = build("mlp", mlp(), std::make_unique<Beside>());
  auto sum = out.value.getDefiningOp<AddOp>().getB().getDefiningOp<AddOp>();
  ASSERT_TRUE(sum);
  EXPECT_EQ(place(sum.getA().getDefiningOp()), "blocks.0.mixer/down");
  EXPECT_EQ(sum.getB().getDefiningOp<LinearOp>().getX(), only<RmsNormOp>().getY());
}

/// Takes the place of attention in a mixer, which offers (n, q's latent, q, k, v).
struct Inside : BlockHooks {
  Value inside(ForwardBuilder &builder, StringRef point, ValueRange values) override {
    EXPECT_EQ(point, "attention");
    EXPECT_EQ(values.size(), 5u);
    return builder.add(values[4], values[4], "instead");
  }
};

TEST_F(BlockBuilderTest, APlacementComputesAPointOfTheMixer) {
  mega::KeyValues keys;
  for (auto [key, value] :
       {std::pair<StringRef, int64_t>{"heads", 2}, {"q_rank", 4}, {"kv_rank", 4}, {"nope", 2}, {"rope", 2}, {"value", 4}})
    keys.set(key, value);
  keys.set("theta", 10000.0);
  build("mla", keys, std::make_unique<Inside>());
  EXPECT_TRUE(func.getBody().getOps<AttentionOp>().empty());
  EXPECT_TRUE(llvm::any_of(func.getBody().getOps<AddOp>(), [](AddOp op) { return place(op) == "blocks.0.mixer/instead"; }));
  EXPECT_FALSE(builder->inside("attention", {})); // of this block alone
}

} // namespace

// One residual block, and where placements join it.
#ifndef MEGACC_PASSES_TRAIN_BLOCKBUILDER_H
#define MEGACC_PASSES_TRAIN_BLOCKBUILDER_H

#include "passes/train/ForwardBuilder.h"

#include <memory>
#include <optional>

namespace megacc::step {

/// The residual between blocks: [T, hidden], or several streams side by side where a placement made them, [T, count*hidden].
struct Stream {
  mlir::Value value;
  int64_t count = 1;
  /// What made it, for the flag of numbers that are not finite; empty: not watched.
  std::string source = {};
};

/// A placement on one block while that is built; it may keep values from one call to another. The scope of each call is "<block>.<kind>",
/// of `inside` it is the mixer's. What a placement leaves alone it does not override. A block is, in this order,
///   x = read(stream), x' = before(x), n = norm(x'), d = mixer(n) + beside(n), stream' = write(stream, scale * after(d)),
/// where the model has a scale for each layer.
class BlockHooks {
public:
  virtual ~BlockHooks() = default;
  /// What the block reads of the stream; null: another placement's, or the mean of the streams.
  virtual mlir::Value read(ForwardBuilder &builder, const Stream &stream) { return {}; }
  /// What the block works on in place of x; it may have fewer rows.
  virtual mlir::Value before(ForwardBuilder &builder, mlir::Value x) { return x; }
  /// In place of what the mixer computes from `values` at a named point of it (ForwardBuilder::inside); null: leave it to the mixer.
  virtual mlir::Value inside(ForwardBuilder &builder, llvm::StringRef point, mlir::ValueRange values) { return {}; }
  /// Of the pairs of channels that the mixer rotates, the share that stays (ForwardBuilder::setUnturned).
  virtual double getUnturned() const { return 0; }
  /// What joins the residual beside the mixer; null: nothing.
  virtual mlir::Value beside(ForwardBuilder &builder, mlir::Value n) { return {}; }
  /// What joins the residual, before a scale, in place of d; it has the rows that `before` was given.
  virtual mlir::Value after(ForwardBuilder &builder, mlir::Value d) { return d; }
  /// The stream after the block; nothing: another placement's, or every stream + d.
  virtual std::optional<Stream> write(ForwardBuilder &builder, const Stream &stream, mlir::Value d) { return std::nullopt; }
};

/// The hooks of a placement and its kind.
struct PlacedHooks {
  std::string kind;
  std::unique_ptr<BlockHooks> hooks;
};

/// The mean of the streams, [T, hidden].
mlir::Value getMean(ForwardBuilder &builder, const Stream &stream);

/// norm, mixer and residual of one block with its placements, under "<name>."; its output, the mean of the streams, is kept as `name`
/// (ForwardBuilder::getKept).
/// Every `before` runs in the order of the placements and every `after` in the reverse of it.
Stream buildBlock(ForwardBuilder &builder, const mega::Block &block, llvm::StringRef name, const Stream &stream);
/// With these hooks instead of those of its features' kinds.
Stream buildBlock(ForwardBuilder &builder, const mega::Block &block, llvm::StringRef name, const Stream &stream,
                  llvm::ArrayRef<PlacedHooks> placed);

} // namespace megacc::step

#endif

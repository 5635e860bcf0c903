// What families build the forward with.
#ifndef MEGACC_PASSES_TRAIN_FORWARDBUILDER_H
#define MEGACC_PASSES_TRAIN_FORWARDBUILDER_H

#include "dialects/Interfaces/Decision.h"
#include "dialects/Mega/Model.h"
#include "dialects/Step/Step.h"
#include "passes/train/Marks.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"

#include <functional>
#include <set>

namespace megacc::step {

/// Epsilon of every RMSNorm and LayerNorm (conventions 5.1).
constexpr double kNormEpsilon = 1e-5;

/// Appends forward ops. Keys and locations are relative to the scope: in "blocks.2.mixer", linear(x, "out_proj") reads the parameter
/// blocks.2.mixer.out_proj.weight and stands at blocks.2.mixer/out_proj.
class ForwardBuilder {
public:
  /// `activation` is the element type of activations; `parameters` has the type of every parameter.
  ForwardBuilder(const mega::Model &model, const llvm::StringMap<mlir::RankedTensorType> &parameters, mlir::Type activation, FuncOp func,
                 bool training);

  const mega::Model &getModel() const { return model; }
  /// False in the evaluation, which has no losses, no backward and no update.
  bool isTraining() const { return training; }
  /// Sizes of the inputs; what is computed from a value takes its rows from that value instead.
  int64_t getBatch() const { return batch; }
  int64_t getSequence() const { return model.sequence; }
  /// Tokens of one sequence in the rows of x.
  int64_t getLength(mlir::Value x) const { return getDim(x, 0) / batch; }

  void setScope(llvm::StringRef prefix, int64_t block);
  /// The parameter `key` of this scope in full.
  std::string getKey(llvm::StringRef key) const { return scope.empty() ? key.str() : scope + "." + key.str(); }
  /// The number of this block; outside the stack the name of the scope.
  std::string getPlace() const { return marks.block < 0 ? scope : std::to_string(marks.block); }
  /// The block of the stack that is being built.
  const mega::Block &getBlock() const { return model.blocks[marks.block]; }
  mlir::OpBuilder &getBuilder() { return builder; }
  mlir::Location getLoc(llvm::StringRef name);
  /// Types: of activations; of statistics, router logits and losses; of tokens and indices.
  mlir::RankedTensorType getType(llvm::ArrayRef<int64_t> shape) { return mlir::RankedTensorType::get(shape, activationType); }
  mlir::RankedTensorType getF32Type(llvm::ArrayRef<int64_t> shape) { return mlir::RankedTensorType::get(shape, builder.getF32Type()); }
  mlir::RankedTensorType getI32Type(llvm::ArrayRef<int64_t> shape) { return mlir::RankedTensorType::get(shape, builder.getI32Type()); }

  /// An input of the step, of int32.
  mlir::Value input(llvm::StringRef name, llvm::ArrayRef<int64_t> shape);
  /// The input "documents", null where the model has none.
  mlir::Value getDocuments();
  /// The value of the parameter `key` of this scope.
  mlir::Value read(llvm::StringRef key, llvm::StringRef name);
  /// x W^T with the parameter <key>.weight, of the weight's type: logits of an fp32 router are fp32.
  mlir::Value linear(mlir::Value x, llvm::StringRef key);
  /// rms_w(x) with the parameter <key>.weight.
  mlir::Value rmsNorm(mlir::Value x, llvm::StringRef key);
  /// The norm that the model has declared for its residual: rms_w, or dyt with the parameters <key>.weight, .bias and .alpha.
  mlir::Value norm(mlir::Value x, llvm::StringRef key);
  /// x times the parameter `key`, by column or one number.
  mlir::Value scale(mlir::Value x, llvm::StringRef key);
  /// LayerNorm with the parameters <key>.weight and <key>.bias.
  mlir::Value layerNorm(mlir::Value x, llvm::StringRef key);
  /// x, to which the backward takes no gradient.
  mlir::Value detach(mlir::Value x, llvm::StringRef name);
  /// The next norm or rmsNorm also notes in the metric nonfinite.<source> whether its input, which `source` made, is finite.
  void watch(llvm::StringRef source) { watched = source.str(); }
  /// Rows of each expert times its matrix of the parameter <key>.weight; `expectedRows` of the rows are used on average.
  mlir::Value groupedLinear(mlir::Value x, mlir::Value offsets, int64_t expectedRows, llvm::StringRef key);
  mlir::Value add(mlir::Value a, mlir::Value b, llvm::StringRef name);
  /// The activation `kind` of x; swiglu halves the columns.
  mlir::Value activation(mlir::Value x, llvm::StringRef kind);
  /// The same of a hidden layer, to which the parameter <key>.weight leads, of experts where there are `offsets`; its activity is summed
  /// where a declared ReDo judges by it.
  mlir::Value hiddenUnits(mlir::Value x, llvm::StringRef kind, llvm::StringRef key, mlir::Value offsets = {});
  /// y times the sigmoid of gates from n with the parameter gate_proj.weight, as the key `gate` says; y without one.
  mlir::Value outputGate(mlir::Value n, mlir::Value y, const mega::KeyValues &keys);
  /// Rotates channels [offset, offset + width) of every head, but for the share of them that setUnturned() leaves; nothing for width 0.
  mlir::Value rope(mlir::Value x, int64_t heads, int64_t headDim, int64_t offset, int64_t width, double theta, llvm::StringRef name);
  llvm::SmallVector<mlir::Value> split(mlir::Value x, int64_t groups, llvm::ArrayRef<int64_t> widths, llvm::StringRef name);
  mlir::Value concat(mlir::ValueRange parts, int64_t groups, llvm::ArrayRef<int64_t> widths, llvm::StringRef name);
  mlir::Value repeatGroups(mlir::Value x, int64_t groups, llvm::StringRef name);
  /// scale times the sum over `groups` groups of columns.
  mlir::Value sumGroups(mlir::Value x, int64_t groups, double scale, llvm::StringRef name);
  /// Of the pairs of every rotated slice that follows, the share that stays, the slowest ones.
  void setUnturned(double share) { unturned = share; }
  /// Causal attention with scale 1/sqrt(qkDim), inside documents where the model has them; a placement may compute it in its place at the
  /// point "scores", from q, k and v.
  mlir::Value attention(mlir::Value q, mlir::Value k, mlir::Value v, int64_t heads, int64_t kvHeads, int64_t qkDim, int64_t vDim);
  /// Depthwise causal convolution with the parameters <key>.weight and, where `bias`, <key>.bias.
  mlir::Value causalConv(mlir::Value x, llvm::StringRef key, bool bias, bool silu);
  /// The rows `distance` tokens ahead, zero outside the row and the document.
  mlir::Value shift(mlir::Value x, int64_t distance, llvm::StringRef name);

  /// What ranks that share the vocabulary tell one another of the logits of `x`, null where none do.
  mlir::Value headStatistics(mlir::Value x, mlir::Value head);
  /// Mean cross-entropy of the head, which enters the objective with `weight`.
  mlir::Value crossEntropy(mlir::Value x, mlir::Value targets, double weight);

  /// Values that other parts of the forward may ask for by name: the output of every block, as "blocks.2", and what a placement shares with
  /// others. Nothing under a name that was never kept.
  void keep(llvm::StringRef name, mlir::ValueRange values) { kept[name].assign(values.begin(), values.end()); }
  llvm::SmallVector<mlir::Value> getKept(llvm::StringRef name) const { return kept.lookup(name); }
  /// At the end: what was computed only to be kept, and nobody asked for.
  void eraseUnusedKept();

  /// What computes a named point of a mixer in its place; null for nothing does.
  using Inside = std::function<mlir::Value(llvm::StringRef point, mlir::ValueRange values)>;
  void setInside(Inside function) { insideFunction = std::move(function); }
  /// Called by a mixer where a placement may compute `point` from `values` in its place; null where none does.
  mlir::Value inside(llvm::StringRef point, mlir::ValueRange values) {
    return insideFunction ? insideFunction(point, values) : mlir::Value();
  }

  /// Records what was decided about this scope and why, for people.
  void recordDecision(llvm::StringRef name, const llvm::Twine &decision);
  llvm::ArrayRef<Decision> getDecisions() const { return decisions; }

  /// Adds weight * value to the term `name` of the objective; the values of a term share their weight.
  void addLossTerm(llvm::StringRef name, mlir::Value value, double weight = 1.0);
  /// Records a value as <term>.<part>; it is not part of the objective.
  void recordLossPart(llvm::StringRef term, llvm::StringRef part, mlir::Value value) { addLossTerm((term + "." + part).str(), value, 0.0); }
  /// Emits one `step.loss` for each term, in the order of their first values.
  void emitLossTerms();

private:
  /// The flag of watch(), once.
  mlir::StringAttr takeWatched();

  struct LossTerm {
    llvm::SmallVector<mlir::Value> values;
    double weight = 1.0;
  };

  const mega::Model &model;
  const llvm::StringMap<mlir::RankedTensorType> &parameters;
  Marks marks;
  mlir::OpBuilder builder;
  std::string scope, watched;
  std::set<std::string> observed; // hidden layers
  mlir::Type activationType;
  int64_t batch;
  bool training;
  double unturned = 0;
  mlir::Value documents;
  llvm::StringMap<llvm::SmallVector<mlir::Value>> kept;
  Inside insideFunction;
  std::vector<Decision> decisions;
  llvm::MapVector<mlir::StringAttr, LossTerm> lossTerms;
};

} // namespace megacc::step

#endif

// Parameters and forward FLOPs that a declaration implies (conventions sections 2, 3 and 17).
#pragma once
#include "dialects/Interfaces/Sharding.h"
#include "dialects/Interfaces/Size.h"
#include "dialects/Mega/Model.h"

namespace megacc::mega {

/// Rows of a matrix that are a map of their own; of stacked experts, of each. `head`: rows of each of its heads, 0 where it has none.
/// Where an axis splits the matrix's rows, its ranks share the segment as `share` says, every `block` rows of it by themselves (0: all).
struct Segment {
  std::string name;
  Size rows;
  Size head = 0, block = 0;
  Share share = Share::Split;
};

struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  /// How it starts (conventions section 3): a kind of the initialiser by name, and its number: the value, the standard deviation, the bound
  /// or the width of an identity.
  std::string initializer = "normal";
  double a = 0.02;
  bool fp32 = false; // whatever the precision
  bool decays = true;
  bool trained = true;
  double active_share = 1.0; // of a token's use; top_k / experts for routed experts
  int64_t slot = -1;         // block, or -1
  Sharding sharding = {};    // which dimension an axis of a mesh splits, where it has one; else every rank has all of it
  int64_t elements() const;  // at most the largest 64-bit number

  /// What a matrix is made of, in row order (conventions 14.7); none where the parameter is no matrix. Where `repeats` is above 1 a matrix
  /// has that many runs of rows, a head each, with rows of every segment in each.
  std::vector<Segment> segments = {};
  int64_t repeats = 1;

  /// Makes it a matrix of these segments.
  Parameter &matrix(std::vector<Segment> parts, Size runs = 1);
  /// The axis splits every segment of a matrix, in each run of rows.
  Parameter &splitSegments(int64_t axis);
  /// The axis splits each of these sizes of a dimension, one after the other, evenly over its ranks.
  Parameter &split(int64_t axis, unsigned dim, llvm::ArrayRef<Size> sizes);
  /// The same of pieces, some of which all ranks have.
  Parameter &split(int64_t axis, unsigned dim, llvm::ArrayRef<Piece> pieces);
};

/// Collects parameters in order. Names are relative to the scope, a prefix such as "blocks.2.mixer.".
class ParameterList {
public:
  explicit ParameterList(const Model &model) : model(model) {}

  const Model &getModel() const { return model; }
  void setScope(std::string prefix, int64_t slot);
  /// The returned parameter can be changed until the next one is added.
  Parameter &add(const std::string &name, const std::vector<Size> &shape, std::string initializer, double a);
  Parameter &normal(const std::string &name, const std::vector<Size> &shape, double deviation = 0.02);
  Parameter &constant(const std::string &name, const std::vector<Size> &shape, double value);
  /// The parameters of a norm of width hidden, of the model's kind, under "<name>."; before attention a dyt has an alpha of its own.
  void addNorm(const std::string &name, bool attends = false);
  /// The deviation of the projections back to the residual stream.
  double getDownDeviation() const;
  size_t size() const { return all.size(); }
  /// Every rank of the axis has all of the parameters from `first` on.
  void makeWhole(size_t first, int64_t axis);
  std::vector<Parameter> take() { return std::move(all); }

private:
  const Model &model;
  std::string scope;
  int64_t slot = -1;
  std::vector<Parameter> all;
};

/// Adds the parameters of one block, its norm and placements among them, under "<name>.".
void addBlockParameters(ParameterList &list, const std::string &name, const Block &block);

/// All parameters, in the order of the forward pass. A size that 64 bits cannot hold is the largest number.
std::vector<Parameter> parameters(const Model &model);

/// Forward FLOPs per token of one block: 2mnk per GEMM, the causal half of attention.
double blockFlops(const Model &model, const Block &block);

/// Forward FLOPs per token of the head.
double headFlops(const Model &model);

/// Forward FLOPs per token of everything outside the blocks: head, and what stands on the input and the objective.
double outerFlops(const Model &model);

} // namespace megacc::mega

// The matrices of a model, what Muon works on of each, and patterns that name them (conventions 14.7 to 14.10).
#pragma once
#include "dialects/Mega/Parameters.h"

#include <set>

namespace megacc::mega {

/// `count` pieces of a matrix, of `rows` rows each: row i of the first is first + i / run * stride + i % run, so that runs of `run` rows
/// stand `stride` apart; every further piece begins `spacing` rows later.
struct Pieces {
  int64_t first = 0, run = 0, stride = 0, rows = 0, count = 1, spacing = 0;
};

/// The pieces that are orthogonalised by themselves, of each expert where there are some: segments, the heads of those that have some
/// (split "heads"), or all rows at once ("none"). None where the parameter is no matrix.
std::vector<Pieces> cutRows(const Parameter &parameter, llvm::StringRef split);

/// Whether [LETTER:]GLOB takes a key: '*' is any run of characters; with a letter the pattern is of the part inside a block of that letter.
bool matchesKey(const Model &model, llvm::StringRef pattern, llvm::StringRef key);

/// Patterns that match no matrix of the model.
std::vector<std::string> findUnmatched(const Model &model, llvm::ArrayRef<std::string> patterns);

/// A matrix and the pieces of it that an intervention changes: segments of each expert. ReDo takes the `up` of hidden layers, whole.
struct Target {
  Parameter parameter;
  std::vector<Pieces> pieces;
};
std::vector<Target> findTargets(const Model &model, const Intervention &intervention);

/// Patterns, [LETTER:]GLOB[#SEGMENT], that match nothing that the intervention could change.
std::vector<std::string> findUnmatched(const Model &model, const Intervention &intervention, llvm::ArrayRef<std::string> patterns);

/// The keys of the matrices that Muon updates; none under AdamW.
std::set<std::string> findMuonMatrices(const Model &model);

/// FLOPs of orthogonalising a piece of these sides: iterations * (4 s^2 l + 2 s^3), s the shorter.
double muonFlops(int64_t rows, int64_t columns, int64_t iterations);

/// Of all matrices under Muon, for an update.
struct MuonWork {
  int64_t matrices = 0, pieces = 0, parameters = 0;
  double flops = 0;
};
MuonWork countMuonWork(const Model &model);

} // namespace megacc::mega

// Functions of what happens at some steps only.
#ifndef MEGACC_PASSES_TRAIN_INTERVENTIONS_H
#define MEGACC_PASSES_TRAIN_INTERVENTIONS_H

#include "dialects/Mega/Model.h"
#include "dialects/Step/Step.h"

#include <set>

namespace megacc::step {

/// The hidden layers, by the key of what leads into them, whose activity a declared ReDo needs.
std::set<std::string> findObservedLayers(const mega::Model &model);

/// What the activity of a hidden layer is called, a metric (step.abs_column_sum).
std::string getActivityName(llvm::StringRef key);

/// Appends `@intervene.K` for the K-th intervention of the declaration, from 0. `microBatch` is the forward that was built: it has the
/// activity of hidden layers. Parameters must be there.
void addInterventions(mlir::ModuleOp module, const mega::Model &model, FuncOp microBatch);

/// For the module's megacc.config, with all keys; null where none is declared.
mlir::ArrayAttr describeInterventions(mlir::MLIRContext *context, const mega::Model &model);

} // namespace megacc::step

#endif

// How a mesh shares parameters, and what it moves.
#pragma once
#include "lib/Plan/Plan.h"

namespace megacc {

/// Of the launches' module; nothing for one rank.
Plan::Mesh gatherMesh(const mega::Model &model, mlir::ModuleOp launches, const Costs &costs);

/// Every parameter with its shape, a rank's and the axes that split it; then what a rank sends in a step and how long that takes.
void printMesh(const Plan::Mesh &mesh, llvm::raw_ostream &os);

} // namespace megacc

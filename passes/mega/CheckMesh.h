// Whether a stack can be cut for its mesh.
#ifndef MEGACC_PASSES_MEGA_CHECKMESH_H
#define MEGACC_PASSES_MEGA_CHECKMESH_H

#include "dialects/Mega/Mega.h"

namespace megacc::mega {

/// An error for every size of the stack that an axis of `train`'s mesh cannot share evenly, with what would and its cost, and for every
/// mesh that nothing can run yet. True where there is none. `remarks`: what every rank has all of for that reason is said.
bool checkMesh(StackOp stack, TrainOp train, bool remarks);

} // namespace megacc::mega

#endif

// What the optimizers share, on both targets.
#pragma once
#include "runtime/core/Bfloat16.h"
#include "runtime/core/Launch.h"
#include "runtime/kernels/optimizer/Rounding.h"

#include <algorithm>

namespace megacc::runtime {

/// What gradients of this norm are multiplied by; clip 0: off.
inline float clipFactor(double clip, float norm) { return clip > 0 ? float(std::min(1.0, clip / (norm + 1e-6))) : 1.0f; }

inline Ranks ranksOf(const MgLaunch *launch) {
  Ranks ranks;
  for (int axis = 0; axis < MG_AXIS_COUNT; ++axis)
    ranks.rank[axis] = launch->context->axes[axis].rank, ranks.size[axis] = launch->context->axes[axis].size;
  return ranks;
}

/// 0, or what is wrong about the master of a weight of this type.
inline int32_t checkMaster(const char *kernel, int weight_type, bool has_master) {
  if ((weight_type == MG_F32) != has_master)
    return 0;
  return mg_fail("%s: weight has type %d and the master is %s; fix: a master for a bf16 (%d) weight, none for f32 (%d)", kernel,
                 weight_type, has_master ? "there" : "absent", int(MG_BF16), int(MG_F32));
}

} // namespace megacc::runtime

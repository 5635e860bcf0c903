// Reading an MgLaunch in a kernel: operands and parameters by the names of kernels.def.
//
//   extern "C" int32_t mg_add(const MgLaunch *launch) {
//     MG_ENTER(mg_add);
//     float *y = output(launch, at::y);
//     const float *a = input(launch, at::a);
//     int64_t count = launch->ints[number::count];
#pragma once
#include "megacc/StepABI.h"
#include "runtime/core/Status.h"

#include <cstdint>

namespace megacc::runtime {

// Positions of operands (at_<kernel>), integer parameters (number_<kernel>) and floating point parameters (real_<kernel>).
#define MG_NAME(name) name,
#define OUT(name, type, count) MG_NAME(name)
#define OPT_OUT(name, type, count) MG_NAME(name)
#define SUM(name, type, count) MG_NAME(name)
#define INOUT(name, type, count) MG_NAME(name)
#define OPT_INOUT(name, type, count) MG_NAME(name)
#define IN(name, type, count) MG_NAME(name)
#define OPT_IN(name, type, count) MG_NAME(name)
#define SCRATCH(name) MG_NAME(name)
#define TABLE(name, type, count) MG_NAME(name)
#define OUT_EACH(name) MG_NAME(name)
#define IN_EACH(name) MG_NAME(name)
#define INT(name) MG_NAME(name)
#define DOUBLE(name) MG_NAME(name)
#define MEGACC_KERNEL(symbol, operands, ints, doubles)                                                                                     \
  namespace at_##symbol {                                                                                                                  \
    enum Operand : int { operands operand_count };                                                                                         \
  }                                                                                                                                        \
  namespace number_##symbol {                                                                                                              \
    enum Integer : int { ints integer_count };                                                                                             \
  }                                                                                                                                        \
  namespace real_##symbol {                                                                                                                \
    enum Real : int { doubles real_count };                                                                                                \
  }
#include "megacc/kernels.def"
#undef MG_NAME

/// Compares a launch with its line of kernels.def: number of operands and parameters, bytes and types of every operand. Returns 0, or
/// records the first difference with both numbers. Called by kernels of checked builds (MEGACC_CHECKED).
int32_t checkLaunch(const MgLaunch *launch, const char *symbol);

#ifdef MEGACC_CHECKED
#define MG_CHECK(symbol)                                                                                                                   \
  if (int32_t status = ::megacc::runtime::checkLaunch(launch, #symbol))                                                                    \
  return status
#else
#define MG_CHECK(symbol) (void)0
#endif

/// First line of a kernel: names its operands at::, its integers number::, its floating point parameters real::.
#define MG_ENTER(symbol)                                                                                                                   \
  namespace at = ::megacc::runtime::at_##symbol;                                                                                           \
  namespace number = ::megacc::runtime::number_##symbol;                                                                                   \
  namespace real = ::megacc::runtime::real_##symbol;                                                                                       \
  MG_CHECK(symbol)

inline float *output(const MgLaunch *launch, int64_t index) { return static_cast<float *>(launch->operands[index]); }
inline const float *input(const MgLaunch *launch, int64_t index) { return static_cast<const float *>(launch->operands[index]); }
inline const int32_t *integers(const MgLaunch *launch, int64_t index) { return static_cast<const int32_t *>(launch->operands[index]); }

/// Whether a SUM operand is added to, see kernels.def.
inline bool addsToOutput(const MgLaunch *launch, int64_t accumulate) {
  return accumulate == 2 || (accumulate == 1 && launch->micro_batch > 0);
}

/// First index of this rank's part of a dimension that is split over an axis into parts of `size`; 0 without an axis.
inline int64_t partBegin(const MgLaunch *launch, int64_t axis, int64_t size) {
  return axis < 0 ? 0 : launch->context->axes[axis].rank * size;
}
/// Parts of that dimension in all.
inline int64_t partCount(const MgLaunch *launch, int64_t axis) { return axis < 0 ? 1 : launch->context->axes[axis].size; }

/// Of the equal parts that the ranks of the mesh axes with bits 1 << axis of `axes` have, the index of this rank's: in the order of the
/// ranks, those of a later axis first.
inline int64_t ownPart(const MgLaunch *launch, int64_t axes) {
  int64_t part = 0;
  for (int axis = 0; axis < MG_AXIS_COUNT; ++axis)
    if (axes >> axis & 1)
      part = part * launch->context->axes[axis].size + launch->context->axes[axis].rank;
  return part;
}

/// Raises or clears a flag operand (nullptr: there is none), see kernels.def.
inline void raiseFlag(const MgLaunch *launch, float *flag, bool raised) {
  if (flag)
    *flag = raised || (launch->micro_batch > 0 && *flag != 0);
}

} // namespace megacc::runtime

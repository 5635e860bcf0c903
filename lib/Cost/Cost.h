// How long a launch takes, from what it computes and moves.
#pragma once
#include "dialects/Interfaces/OpCost.h"

#include <string_view>

namespace megacc {

/// What a machine reaches, not what it promises: large products and copies, measured.
struct DeviceRecord {
  const char *name;
  const char *target; // the kernels that run on it
  double flops;       // a second, of products in the type of the target's weights
  double bytes;       // a second, read and written together
  double launch;      // seconds between two launches
};

/// The record of a name ("h100", "h200", "cpu"); null without one.
const DeviceRecord *findDevice(std::string_view name);
/// The record that stands for a target where none is named.
const DeviceRecord &getDefaultDevice(std::string_view target);

/// Roofline: as long as its FLOPs or its bytes take, whichever is more, and the launch.
double estimateMilliseconds(const OpCost &cost, const DeviceRecord &device);

} // namespace megacc

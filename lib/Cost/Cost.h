// How long a launch takes: as measured, or from what it computes and moves.
#pragma once
#include "dialects/Interfaces/OpCost.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <map>
#include <set>
#include <string>
#include <utility>

namespace megacc {

/// What a machine reaches, not what it promises: large products and copies, measured.
struct DeviceRecord {
  const char *name;
  const char *target; // the kernels that run on it
  double flops;       // a second, of products in the type of the target's weights
  double bytes;       // a second, read and written together
  double launch;      // seconds between two launches
  int64_t ranks;      // cards that its links connect; those of other hosts are reached over the network
  double link;        // bytes a second that a rank sends over them
  double network;     // and over the network
  double collective;  // seconds that a small one takes
};

/// The record of a name ("h100", "h200", "cpu"); null without one.
const DeviceRecord *findDevice(llvm::StringRef name);
/// The record that stands for a target where none is named.
const DeviceRecord &getDefaultDevice(llvm::StringRef target);

/// Roofline: as long as its FLOPs or its bytes take, whichever is more, and the launch.
double estimateMilliseconds(const OpCost &cost, const DeviceRecord &device);

/// What a rank sends in `launches` collectives, among ranks of which the last stands `span` - 1 behind the first.
double estimateSending(int64_t launches, int64_t bytes, int64_t span, const DeviceRecord &device);

/// Milliseconds of the launches of a target.
class Costs {
public:
  /// Measured where the file, which `megacc-run --calibrate` wrote, has the kernel with these parameters, else by roofline; without a file
  /// ("") by roofline alone. Fails where it is not such a file or of another target.
  static llvm::Expected<Costs> read(llvm::StringRef path, llvm::StringRef target);

  /// `ints`: the integer parameters of kernels.def, in its order.
  double getMilliseconds(llvm::StringRef kernel, llvm::ArrayRef<int64_t> ints, const OpCost &cost) const;
  /// By roofline, whatever was measured.
  double estimate(const OpCost &cost) const { return estimateMilliseconds(cost, *device); }
  /// Of collectives, always by the device's record (estimateSending).
  double estimateSending(int64_t launches, int64_t bytes, int64_t span) const {
    return megacc::estimateSending(launches, bytes, span, *device);
  }
  bool isMeasured(llvm::StringRef kernel, llvm::ArrayRef<int64_t> ints) const { return measured.contains({kernel.str(), ints.vec()}); }
  /// Of what: the device's name, or the machine of the measured file.
  std::string getMachine() const { return machine.empty() ? device->name : machine; }
  /// Milliseconds of the step that was measured, launched as a whole; 0 where none was.
  double getMeasuredStep() const { return measured_step; }

private:
  explicit Costs(llvm::StringRef target) : device(&getDefaultDevice(target)) {}

  const DeviceRecord *device;
  std::map<std::pair<std::string, std::vector<int64_t>>, double> measured;
  std::string machine;
  double measured_step = 0;
};

} // namespace megacc

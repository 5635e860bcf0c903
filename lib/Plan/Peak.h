// What lies in the temporaries where most of them are alive.
#pragma once
#include "lib/Plan/Schedule.h"

#include <string>
#include <vector>

namespace megacc {

struct Peak {
  /// Values of equal bytes that launches of one kernel make.
  struct Row {
    int64_t bytes = 0;              // of one of them
    std::string kernel;             // without its prefix
    std::vector<std::string> paths; // of the launches that make them
    ValueClass kind = kForward;
  };
  std::string path, kernel; // of the launch with the peak
  bool is_again = false;    // it computes again
  int64_t bytes = 0;        // alive at it
  std::vector<Row> rows;    // those of most bytes first
};

/// Of @micro_batch.
Peak findPeak(const Schedule &schedule);

/// "alive at the peak ...", then a line for each of the ten largest rows; no newline at the end.
std::string describePeak(const Peak &peak);

} // namespace megacc

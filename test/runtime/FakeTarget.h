// A target whose arena cannot be touched: its addresses belong to no memory, what the table is given lies in a shadow.
#pragma once
#include "megacc/StepABI.h"

#include <cstddef>
#include <string>
#include <vector>

struct FakeTarget {
  struct Initialization {
    int64_t count, first, kind, key;
    double a;
    bool master;
  };

  MgTarget table;
  std::vector<MgKernelEntry> kernels;
  std::vector<std::byte> shadow[MG_SEGMENT_COUNT]; // of the arena that is reserved
  int64_t writes = 0, reads = 0, largest = 0;      // calls, and the bytes of the largest one
  std::vector<Initialization> initializations;
  std::string message; // what last_error returns
  bool reserve_fails = false;
  int64_t bytes_in_use = 0; // negative: the device does not say
  int marks = 0, unmarks = 0;
};

/// The one of this process. reset() makes it as it was at the start.
FakeTarget &fakeTarget();
void resetFakeTarget();

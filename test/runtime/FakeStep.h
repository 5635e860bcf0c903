// The layout that FakeStep.cpp runs on and StepTest.cpp describes: offsets in the io segment.
#pragma once
#include <cstdint>

namespace fake_step {

constexpr int64_t micro_batch = 2, sequence = 4, accumulate = 2, vocab = 16;
constexpr int64_t stride = 256; // from a micro-batch to the next
constexpr int64_t tokens = 0, targets = 512, positions = 1024, scalars = 1280;
constexpr int64_t documents = 1032; // in the holes of positions, scalars and between them
constexpr int64_t loss = 1536, grad_norm = 1792, invalid = 2048;
constexpr int64_t hidden = 2304, loss_sum = 2816, count = 3072, io_bytes = 3328;

} // namespace fake_step

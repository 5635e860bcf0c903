// Kernels that only move elements work on units: the widest of 16, 8, 4 and 2 bytes that every piece and address is a multiple of.
#pragma once
#include "runtime/cuda/Device.cuh"

#include <span>

namespace megacc::runtime::cuda {

/// Bytes of an element of a type.
inline int64_t elementBytes(uint8_t type) { return type == MG_BF16 ? 2 : type == MG_F64 || type == MG_I64 ? 8 : 4; }

/// Calls body(U()) with the widest unit that divides all lengths (in bytes) and addresses; widths in units are lengths / sizeof(U).
template <typename Body> int32_t withUnit(std::span<const int64_t> lengths, std::span<const void *const> addresses, Body &&body) {
  uint64_t bits = 0;
  for (int64_t length : lengths)
    bits |= uint64_t(length);
  for (const void *address : addresses)
    bits |= reinterpret_cast<uintptr_t>(address);
  if (bits % 16 == 0)
    return body(uint4());
  if (bits % 8 == 0)
    return body(uint2());
  if (bits % 4 == 0)
    return body(uint32_t());
  return body(uint16_t());
}

} // namespace megacc::runtime::cuda

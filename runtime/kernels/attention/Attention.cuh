// Attention on Hopper: what its host code passes on. Sizes are padded to classes, for which kernels are compiled. Where heads begin at
// multiples of 16 bytes the copy engine brings tiles, else threads do.
#pragma once
#include "runtime/kernels/attention/Tiles.cuh"

namespace megacc::runtime::attention {

/// Rows of a streamed tile of the backward, and what the rows of lse and delta are padded to.
inline constexpr int step_rows = 64;

struct Problem {
  int batch, sequence, heads, kv_heads, qk_dim, v_dim;
  int shared_dim; // see kernels.def; 0, or only where tiles are copied in bulk and the other channels of a key fill whole panels
  float scale;
  /// First key that each query [batch, sequence] may see; null where there is one document per row.
  const int32_t *first_keys;
  cudaStream_t stream;

  int padded() const { return (sequence + step_rows - 1) / step_rows * step_rows; }
};

/// Keys and values: v null where they are packed, else k_shared.
struct KeysAndValues {
  const bf16 *k, *k_shared, *v;
};

/// A tensor of a problem as a source of tiles, dense; the keys and the values. Return 0, or record an error.
int32_t describeSource(Source &source, const Problem &problem, const void *data, int heads, int dim, bool bulk);
int32_t describeSources(Source &keys, Source &values, const Problem &problem, const KeysAndValues &kv, bool bulk);

/// y (null: not wanted) and lse (null: not wanted).
int32_t runForward(const Problem &problem, bf16 *y, float *lse, const bf16 *q, const KeysAndValues &kv);

/// Terms of a row of queries, [batch, heads, padded]: lse / ln 2 and delta = sum(d_y * y); infinity and 0 behind the end of the sequence.
using RowTerms = float2;

struct Gradients {
  bf16 *d_q, *d_k, *d_k_shared, *d_v;
  const bf16 *d_y, *q;
  KeysAndValues kv;
  const RowTerms *terms;
};
int32_t runBackward(const Problem &problem, const Gradients &gradients);

/// Sizes that kernels are compiled for.
template <int qk_cols, int v_cols, bool copies_in_bulk> struct Class {
  static constexpr int qk = qk_cols, v = v_cols;
  static constexpr bool bulk = copies_in_bulk;
};

/// Calls body(Class()) with the smallest class that a problem fits in.
template <typename Body> int32_t withClass(const Problem &p, bool aligned, Body &&body) {
  auto fits = [&](int qk, int v) { return p.qk_dim <= qk && p.v_dim <= v; };
  if (aligned && p.qk_dim % 8 == 0 && p.v_dim % 8 == 0) {
    if (fits(64, 64))
      return body(Class<64, 64, true>());
    if (fits(128, 64))
      return body(Class<128, 64, true>());
    if (fits(128, 128))
      return body(Class<128, 128, true>());
    if (fits(192, 128))
      return body(Class<192, 128, true>());
    return body(Class<256, 256, true>());
  }
  if (fits(64, 64))
    return body(Class<64, 64, false>());
  if (fits(128, 128))
    return body(Class<128, 128, false>());
  return body(Class<256, 256, false>());
}

} // namespace megacc::runtime::attention

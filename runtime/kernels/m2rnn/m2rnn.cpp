// The M2RNN recurrence, conventions section 9: per batch row and head, with a state h[key, value],
//   z = tanh(h W + k v^T), h <- f h + (1-f) z, y = h^T q, f = exp(-exp(A_log) softplus(f_in + dt_bias)).
// Inside, both directions of the state are padded to multiples of 8; padding stays zero. Time is cut in blocks of `interval` tokens: the
// forward leaves the state before each, the backward recomputes one block at a time.
#include "runtime/core/Documents.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Gemm.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace megacc::runtime;

namespace {

constexpr int64_t simd = 8;
/// Heads are dealt to at most this many slots, each with its own scratch.
constexpr int64_t most_slots = 32;

struct Sizes {
  /// Both kernels begin with the same parameters.
  explicit Sizes(const MgLaunch *launch) {
    namespace number = number_mg_m2rnn_scan;
    batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], heads = launch->ints[number::heads];
    key = launch->ints[number::key], value = launch->ints[number::value], interval = launch->ints[number::interval];
    blocks = (sequence + interval - 1) / interval, tiles = batch * heads, slots = std::min(tiles, most_slots);
    rows = (key + simd - 1) / simd * simd, cols = (value + simd - 1) / simd * simd, state = rows * cols;
  }
  int64_t batch, sequence, heads, key, value, interval;
  int64_t blocks, tiles, slots;
  int64_t rows, cols, state; // padded
};

/// f = keep, 1 - f = take: the difference comes from the exponent, f may be close to 1.
struct Decay {
  Decay(float f, float rate, float dt_bias) {
    float x = f + dt_bias;
    exponent = rate * (std::max(x, 0.0f) + std::log1p(std::exp(-std::fabs(x))));
    keep = std::exp(-exponent);
    take = -std::expm1(-exponent);
    slope = rate / (1.0f + std::exp(-x));
  }
  float exponent, keep, take;
  float slope; // derivative of the exponent by f
};

void store(float *to, Float8 value) { std::memcpy(to, &value, sizeof value); }

float sum(Float8 value) {
  float total = 0;
  for (int64_t c = 0; c < simd; ++c)
    total += value[c];
  return total;
}

/// Rows of `cols` values to rows of `padded_cols`, the rest zero up to `padded_rows`.
void copyPadded(float *to, int64_t padded_rows, int64_t padded_cols, const float *from, int64_t rows, int64_t cols) {
  std::memset(to, 0, padded_rows * padded_cols * sizeof(float));
  for (int64_t i = 0; i < rows; ++i)
    std::memcpy(to + i * padded_cols, from + i * cols, cols * sizeof(float));
}

/// What one slot works with; everything is padded.
struct Slot {
  Slot(const Sizes &size, float *base)
      : weight(base), q(weight + size.cols * size.cols), k(q + size.rows), v(k + size.rows), rest(v + size.cols) {}
  static int64_t floats(const Sizes &size) { return size.cols * size.cols + 2 * size.rows + size.cols; }
  float *weight, *q, *k, *v, *rest;
};

/// out[rows,cols] of eight rows and columns from (i, j): start + in[rows,cols] weight[cols,cols].
void product(const Sizes &size, const float *in, const float *weight, int64_t i, int64_t j, Float8 (&out)[simd]) {
  const float *from = in + i * size.cols;
  for (int64_t l = 0; l < size.value; ++l) {
    Float8 row = loadEight(weight + l * size.cols + j);
    for (int64_t r = 0; r < simd; ++r)
      out[r] += from[r * size.cols + l] * row;
  }
}

/// One step of the state: next = f h + (1-f) z, and z unless null.
void advance(const Sizes &size, const Slot &scratch, const Decay &decay, const float *h, float *next, float *z) {
  for (int64_t j = 0; j < size.cols; j += simd)
    for (int64_t i = 0; i < size.rows; i += simd) {
      Float8 value[simd];
      for (int64_t r = 0; r < simd; ++r)
        value[r] = scratch.k[i + r] * loadEight(scratch.v + j);
      product(size, h, scratch.weight, i, j, value);
      for (int64_t r = 0; r < simd; ++r) {
        int64_t at = (i + r) * size.cols + j;
        value[r] = fastTanh(value[r]);
        if (z)
          store(z + at, value[r]);
        store(next + at, decay.keep * loadEight(h + at) + decay.take * value[r]);
      }
    }
}

/// The operands that forward and backward share.
struct Inputs {
  /// They follow one another in the same order, from q on.
  Inputs(const MgLaunch *launch, int64_t first) {
    namespace at = at_mg_m2rnn_scan;
    auto find = [&](int64_t operand) { return input(launch, first + operand - at::q); };
    q = find(at::q), k = find(at::k), v = find(at::v), f = find(at::f), a_log = find(at::a_log), dt_bias = find(at::dt_bias);
    weight = find(at::state_weight), documents = integers(launch, first + at::documents - at::q);
  }
  const float *q, *k, *v, *f, *a_log, *dt_bias, *weight;
  const int32_t *documents;
};

/// The recurrence of the heads of one slot: y where there is a y, the state before every block where there are states, and the norm of the
/// last state of every tile where there are norms. Not inlined: forward and backward must get the same bits.
[[gnu::noinline]] void scanSlot(const Sizes &size, const Inputs &in, const Slot &scratch, int64_t slot, float *y, float *states,
                                double *norms) {
  for (int64_t tile = slot; tile < size.tiles; tile += size.slots) {
    int64_t first = tile / size.heads * size.sequence, head = tile % size.heads;
    const int32_t *documents = in.documents ? in.documents + first : nullptr;
    float *h = scratch.rest, *next = h + size.state, rate = std::exp(in.a_log[head]);
    copyPadded(scratch.weight, size.cols, size.cols, in.weight + head * size.value * size.value, size.value, size.value);
    std::memset(h, 0, size.state * sizeof(float));
    for (int64_t t = 0; t < size.sequence; ++t) {
      int64_t row = first + t, at = (row * size.heads + head) * size.value;
      if (states && t % size.interval == 0)
        for (int64_t i = 0; i < size.key; ++i)
          std::memcpy(states + ((tile * size.blocks + t / size.interval) * size.key + i) * size.value, h + i * size.cols,
                      size.value * sizeof(float));
      if (startsDocument(documents, t))
        std::memset(h, 0, size.state * sizeof(float));
      copyPadded(scratch.q, 1, size.rows, in.q + row * size.key, 1, size.key);
      copyPadded(scratch.k, 1, size.rows, in.k + row * size.key, 1, size.key);
      copyPadded(scratch.v, 1, size.cols, in.v + at, 1, size.value);
      advance(size, scratch, Decay(in.f[row * size.heads + head], rate, in.dt_bias[head]), h, next, nullptr);
      std::swap(h, next);
      if (!y)
        continue;
      for (int64_t j = 0; j < size.cols; j += simd) {
        Float8 total = {};
        for (int64_t i = 0; i < size.rows; ++i)
          total += scratch.q[i] * loadEight(h + i * size.cols + j);
        std::memcpy(y + at + j, &total, std::min(simd, size.value - j) * sizeof(float));
      }
    }
    if (!norms)
      continue;
    double square = 0;
    for (int64_t i = 0; i < size.state; ++i)
      square += double(h[i]) * h[i];
    norms[tile] = std::sqrt(square);
  }
}

} // namespace

extern "C" {

int32_t mg_m2rnn_scan(const MgLaunch *launch) {
  MG_ENTER(mg_m2rnn_scan);
  Sizes size(launch);
  Inputs in(launch, at::q);
  int64_t slot_floats = Slot::floats(size) + 2 * size.state;
  Scratch scratch(launch, at::scratch);
  float *slots = scratch.take<float>(size.slots * slot_floats);
  if (int32_t status = scratch.check("mg_m2rnn_scan"))
    return status;
  parallelFor(size.slots, [&](int64_t slot) {
    scanSlot(size, in, Slot(size, slots + slot * slot_floats), slot, output(launch, at::y), output(launch, at::states), nullptr);
  });
  return 0;
}

int32_t mg_m2rnn_state_norm(const MgLaunch *launch) {
  MG_ENTER(mg_m2rnn_state_norm);
  Sizes size(launch);
  Inputs in(launch, at::q);
  int64_t slot_floats = Slot::floats(size) + 2 * size.state;
  Scratch scratch(launch, at::scratch);
  float *slots = scratch.take<float>(size.slots * slot_floats);
  double *norms = scratch.take<double>(size.tiles), sum = 0;
  if (int32_t status = scratch.check("mg_m2rnn_state_norm"))
    return status;
  parallelFor(size.slots, [&](int64_t slot) { scanSlot(size, in, Slot(size, slots + slot * slot_floats), slot, nullptr, nullptr, norms); });
  for (int64_t tile = 0; tile < size.tiles; ++tile)
    sum += norms[tile];
  *output(launch, at::norm) = float(launch->doubles[real::share] * sum);
  return 0;
}

// Backwards in time, with A = dL/dh: A += q dy^T, dq = h dy, df = sum A (h_before - z), X = (1-f) A (1-z^2), dk = X v, dv = X^T k,
// dW += h_before^T X, A <- f A + X W^T. q and k belong to all heads: their shares wait in the scratch until a block of time is done.
int32_t mg_m2rnn_scan_grad(const MgLaunch *launch) {
  MG_ENTER(mg_m2rnn_scan_grad);
  static_assert(at::documents - at::q == at_mg_m2rnn_scan::documents - at_mg_m2rnn_scan::q);
  Sizes size(launch);
  Inputs in(launch, at::q);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_q = output(launch, at::d_q), *d_k = output(launch, at::d_k), *d_v = output(launch, at::d_v), *d_f = output(launch, at::d_f);
  float *d_a_log = output(launch, at::d_a_log), *d_dt_bias = output(launch, at::d_dt_bias), *d_weight = output(launch, at::d_state_weight);
  const float *d_y = input(launch, at::d_y), *states = input(launch, at::states);

  // Scratch of a slot: transposed weight, d_y, the states before each step of a block and after it, and z, which becomes X.
  int64_t square = size.cols * size.cols, slot_floats = Slot::floats(size) + square + size.cols + (2 * size.interval + 1) * size.state;
  // Scratch of a tile: A, d_weight, d_a_log and d_dt_bias; and a block of d_q and d_k.
  int64_t tile_floats = size.state + square + 2, share = size.interval * size.rows;
  Scratch scratch(launch, at::scratch);
  float *slots = scratch.take<float>(size.slots * slot_floats), *tiles = scratch.take<float>(size.tiles * tile_floats);
  float *q_shares = scratch.take<float>(size.tiles * share), *k_shares = scratch.take<float>(size.tiles * share);
  float *own_states = states ? nullptr : scratch.take<float>(size.tiles * size.blocks * size.key * size.value);
  if (int32_t status = scratch.check("mg_m2rnn_scan_grad"))
    return status;
  if (own_states) {
    parallelFor(size.slots, [&](int64_t slot) {
      scanSlot(size, in, Slot(size, slots + slot * slot_floats), slot, /*y=*/nullptr, own_states, nullptr);
    });
    states = own_states;
  }
  std::memset(tiles, 0, size.tiles * tile_floats * sizeof(float));

  for (int64_t block = size.blocks - 1; block >= 0; --block) {
    int64_t begin = block * size.interval, steps = std::min(size.interval, size.sequence - begin);
    parallelFor(size.slots, [&](int64_t slot) {
      Slot scratch(size, slots + slot * slot_floats);
      float *transposed = scratch.rest, *gradient = transposed + square, *before = gradient + size.cols;
      float *squashed = before + (size.interval + 1) * size.state;
      std::memset(gradient, 0, size.cols * sizeof(float));
      for (int64_t tile = slot; tile < size.tiles; tile += size.slots) {
        int64_t first = tile / size.heads * size.sequence, head = tile % size.heads;
        const int32_t *documents = in.documents ? in.documents + first : nullptr;
        float rate = std::exp(in.a_log[head]);
        float *adjoint = tiles + tile * tile_floats, *tile_weight = adjoint + size.state, *sums = tile_weight + square;
        copyPadded(scratch.weight, size.cols, size.cols, in.weight + head * size.value * size.value, size.value, size.value);
        for (int64_t l = 0; l < size.cols; ++l)
          for (int64_t j = 0; j < size.cols; ++j)
            transposed[l * size.cols + j] = scratch.weight[j * size.cols + l];
        auto fetch = [&](int64_t row) {
          copyPadded(scratch.k, 1, size.rows, in.k + row * size.key, 1, size.key);
          copyPadded(scratch.v, 1, size.cols, in.v + (row * size.heads + head) * size.value, 1, size.value);
          return Decay(in.f[row * size.heads + head], rate, in.dt_bias[head]);
        };

        copyPadded(before, size.rows, size.cols, states + (tile * size.blocks + block) * size.key * size.value, size.key, size.value);
        for (int64_t s = 0; s < steps; ++s) {
          if (startsDocument(documents, begin + s))
            std::memset(before + s * size.state, 0, size.state * sizeof(float));
          Decay decay = fetch(first + begin + s);
          advance(size, scratch, decay, before + s * size.state, before + (s + 1) * size.state, squashed + s * size.state);
        }

        double sum_a_log = 0, sum_dt_bias = 0;
        for (int64_t s = steps - 1; s >= 0; --s) {
          int64_t row = first + begin + s, at = (row * size.heads + head) * size.value;
          Decay decay = fetch(row);
          copyPadded(scratch.q, 1, size.rows, in.q + row * size.key, 1, size.key);
          std::memcpy(gradient, d_y + at, size.value * sizeof(float));
          const float *h = before + s * size.state;
          float *z = squashed + s * size.state;
          float *q_share = q_shares + tile * share + s * size.rows, *k_share = k_shares + tile * share + s * size.rows;
          Float8 through_decay = {};
          for (int64_t j = 0; j < size.cols; j += simd) {
            Float8 through_v = {}, dy = loadEight(gradient + j), v = loadEight(scratch.v + j);
            for (int64_t i = 0; i < size.rows; i += simd) {
              Float8 through_q[simd], through_k[simd];
              for (int64_t r = 0; r < simd; ++r) {
                int64_t e = (i + r) * size.cols + j;
                Float8 a = loadEight(adjoint + e) + scratch.q[i + r] * dy, h_before = loadEight(h + e), tanh = loadEight(z + e);
                Float8 x = decay.take * a * (1.0f - tanh * tanh);
                store(adjoint + e, a);
                store(z + e, x);
                through_decay += a * (h_before - tanh);
                through_v += x * scratch.k[i + r];
                through_q[r] = (decay.keep * h_before + decay.take * tanh) * dy;
                through_k[r] = x * v;
              }
              store(q_share + i, j ? loadEight(q_share + i) + sumEach(through_q) : sumEach(through_q));
              store(k_share + i, j ? loadEight(k_share + i) + sumEach(through_k) : sumEach(through_k));
            }
            std::memcpy(d_v + at + j, &through_v, std::min(simd, size.value - j) * sizeof(float));
          }
          float d_exponent = -sum(through_decay) * decay.keep, d_input = d_exponent * decay.slope;
          d_f[row * size.heads + head] = d_input;
          sum_dt_bias += d_input;
          sum_a_log += d_exponent * decay.exponent;
          if (startsDocument(documents, begin + s)) {
            std::memset(adjoint, 0, size.state * sizeof(float));
            continue;
          }
          for (int64_t j = 0; j < size.cols; j += simd)
            for (int64_t i = 0; i < size.rows; i += simd) {
              Float8 value[simd];
              for (int64_t r = 0; r < simd; ++r)
                value[r] = decay.keep * loadEight(adjoint + (i + r) * size.cols + j);
              product(size, z, transposed, i, j, value);
              for (int64_t r = 0; r < simd; ++r)
                store(adjoint + (i + r) * size.cols + j, value[r]);
            }
        }
        gemm(Transpose::left, size.cols, size.cols, steps * size.rows, 1.0f, before, size.cols, squashed, size.cols, 1.0f, tile_weight,
             size.cols);
        sums[0] += float(sum_a_log);
        sums[1] += float(sum_dt_bias);
      }
    });
    parallelRanges(size.batch * steps, 8, [&](int64_t from, int64_t to) {
      for (int64_t t = from; t < to; ++t) {
        int64_t b = t / steps, s = t % steps, row = b * size.sequence + begin + s;
        for (auto [shares, total] : {std::pair(q_shares, d_q), std::pair(k_shares, d_k)}) {
          std::memset(total + row * size.key, 0, size.key * sizeof(float));
          for (int64_t head = 0; head < size.heads; ++head)
            for (int64_t i = 0; i < size.key; ++i)
              total[row * size.key + i] += shares[(b * size.heads + head) * share + s * size.rows + i];
        }
      }
    });
  }

  for (int64_t head = 0; head < size.heads; ++head) {
    d_a_log[head] = d_dt_bias[head] = 0;
    float *total = d_weight + head * size.value * size.value;
    if (!add)
      std::memset(total, 0, size.value * size.value * sizeof(float));
    for (int64_t b = 0; b < size.batch; ++b) {
      const float *part = tiles + (b * size.heads + head) * tile_floats + size.state;
      for (int64_t l = 0; l < size.value; ++l)
        for (int64_t j = 0; j < size.value; ++j)
          total[l * size.value + j] += part[l * size.cols + j];
      d_a_log[head] += part[square];
      d_dt_bias[head] += part[square + 1];
    }
  }
  return productStatus("mg_m2rnn_scan_grad");
}
}

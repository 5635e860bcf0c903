// Elementwise kernels: addition, copies, accumulation and activations (conventions 5.4).
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/NormalCdf.h"
#include "runtime/core/Status.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cstring>

using namespace megacc::runtime;

namespace {

constexpr int64_t grain = 32768;
constexpr int64_t chunk = 256; // activations that wait for their sum

enum Activation : int64_t { gelu, gelu_tanh, relu2, swiglu };

/// Value and slope of each activation of one input.
struct Gelu {
  static float value(float x) { return x * normalCdf(x); }
  static float slope(float x) { return normalCdf(x) + x * 0.39894228f * fastExp(-0.5f * x * x); }
};

/// 0.5 x (1 + tanh u) = x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3)
struct GeluTanh {
  static constexpr float linear = 1.5957691f, cubic = 0.071354816f;
  static float value(float x) { return x * sigmoid(x * (linear + cubic * x * x)); }
  static float slope(float x) {
    float s = sigmoid(x * (linear + cubic * x * x));
    return s + x * s * (1.0f - s) * (linear + 3.0f * cubic * x * x);
  }
};

struct Relu2 {
  static float value(float x) { return x > 0 ? x * x : 0.0f * x; }
  static float slope(float x) { return x > 0 ? 2.0f * x : 0.0f * x; }
};

/// Calls body with the activation of a kind other than swiglu.
template <typename Body> void withActivation(int64_t kind, Body &&body) {
  if (kind == gelu)
    body(Gelu());
  else if (kind == gelu_tanh)
    body(GeluTanh());
  else
    body(Relu2());
}

/// The sum of g * f(x) over a row, in a fixed order.
float dotActivated(int64_t kind, const float *g, const float *x, int64_t width) {
  float values[chunk];
  float sum = 0;
  for (int64_t from = 0; from < width; from += chunk) {
    int64_t count = std::min(chunk, width - from);
    if (kind == swiglu)
      for (int64_t j = 0; j < count; ++j)
        values[j] = x[from + j] * sigmoid(x[from + j]) * x[width + from + j];
    else
      withActivation(kind, [&](auto activation) {
        for (int64_t j = 0; j < count; ++j)
          values[j] = activation.value(x[from + j]);
      });
    sum += dot(g + from, values, count);
  }
  return sum;
}

int64_t rowGrain(int64_t width) { return width >= grain ? 1 : grain / width; }

} // namespace

extern "C" {

int32_t mg_add(const MgLaunch *launch) {
  MG_ENTER(mg_add);
  float *y = output(launch, at::y);
  const float *a = input(launch, at::a), *b = input(launch, at::b);
  parallelRanges(launch->ints[number::count], grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      y[i] = a[i] + b[i];
  });
  return 0;
}

int32_t mg_copy(const MgLaunch *launch) {
  MG_ENTER(mg_copy);
  parallelRanges(launch->ints[number::count], grain, [&](int64_t begin, int64_t end) {
    std::memmove(output(launch, at::y) + begin, input(launch, at::x) + begin, (end - begin) * sizeof(float));
  });
  return 0;
}

int32_t mg_accumulate(const MgLaunch *launch) {
  MG_ENTER(mg_accumulate);
  float *sum = output(launch, at::sum), scale = float(launch->doubles[real::scale]);
  const float *x = input(launch, at::x);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  parallelRanges(launch->ints[number::count], grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      sum[i] = add ? sum[i] + scale * x[i] : scale * x[i];
  });
  return 0;
}

int32_t mg_accumulate_terms(const MgLaunch *launch) {
  MG_ENTER(mg_accumulate_terms);
  float *sum = output(launch, at::sum), total = 0;
  for (int64_t term = 0; term < launch->ints[number::parts]; ++term)
    total += *input(launch, at::part + term);
  *sum = (addsToOutput(launch, launch->ints[number::accumulate]) ? *sum : 0.0f) + float(launch->doubles[real::scale]) * total;
  return 0;
}

int32_t mg_fill_zero(const MgLaunch *launch) {
  MG_ENTER(mg_fill_zero);
  if (!addsToOutput(launch, launch->ints[number::accumulate]))
    std::memset(output(launch, at::y), 0, launch->bytes[at::y]);
  return 0;
}

int32_t mg_activation(const MgLaunch *launch) {
  MG_ENTER(mg_activation);
  int64_t rows = launch->ints[number::rows], width = launch->ints[number::width], kind = launch->ints[number::kind];
  float *y = output(launch, at::y);
  const float *x = input(launch, at::x), *scale = input(launch, at::scale);
  if (kind < gelu || kind > swiglu)
    return mg_fail("mg_activation: unknown kind %ld", long(kind));
  parallelRanges(rows, rowGrain(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float factor = scale ? scale[t] : 1.0f;
      if (kind == swiglu) {
        const float *gate = x + 2 * t * width, *up = gate + width;
        for (int64_t j = 0; j < width; ++j)
          y[t * width + j] = factor * gate[j] * sigmoid(gate[j]) * up[j];
      } else {
        withActivation(kind, [&](auto activation) {
          for (int64_t i = t * width; i < (t + 1) * width; ++i)
            y[i] = factor * activation.value(x[i]);
        });
      }
    }
  });
  return 0;
}

// d_x may take the place of an operand: each element is read before it is written, so the loops may be vectorised.
int32_t mg_activation_grad(const MgLaunch *launch) {
  MG_ENTER(mg_activation_grad);
  int64_t rows = launch->ints[number::rows], width = launch->ints[number::width], kind = launch->ints[number::kind];
  float *d_x = output(launch, at::d_x), *d_scale = output(launch, at::d_scale);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *scale = input(launch, at::scale);
  if (kind < gelu || kind > swiglu)
    return mg_fail("mg_activation_grad: unknown kind %ld", long(kind));
  parallelRanges(rows, rowGrain(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *in = x + t * width * (kind == swiglu ? 2 : 1), *g = d_y + t * width;
      float *out = d_x + t * width * (kind == swiglu ? 2 : 1), factor = scale ? scale[t] : 1.0f;
      if (d_scale)
        d_scale[t] = dotActivated(kind, g, in, width);
      if (kind == swiglu) {
#pragma clang loop vectorize(assume_safety)
        for (int64_t j = 0; j < width; ++j) {
          float gate = in[j], s = sigmoid(gate), silu = gate * s, gradient = factor * g[j];
          out[j] = gradient * in[width + j] * (s + silu * (1.0f - s));
          out[width + j] = gradient * silu;
        }
      } else {
        withActivation(kind, [&](auto activation) {
#pragma clang loop vectorize(assume_safety)
          for (int64_t j = 0; j < width; ++j)
            out[j] = factor * g[j] * activation.slope(in[j]);
        });
      }
    }
  });
  return 0;
}
}

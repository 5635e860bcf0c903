// A residual of several streams (conventions 10.4 to 10.6): what a block reads of them, and how it writes them.
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/kernels/mhc/Maps.h"

using namespace megacc::runtime;
using namespace megacc::runtime::mhc;

/// Tokens of a tile; partial sums of the bias are left for each.
static constexpr int64_t tile_rows = 64;
/// Columns of all streams that fit beside one another.
static constexpr int64_t tile_cols = 64;

static int32_t checkSizes(const char *kernel, int64_t streams, int64_t iterations) {
  if (streams <= most_streams && iterations <= most_iterations)
    return 0;
  return mg_fail("%s: %lld streams and %lld iterations, at most %lld and %lld; fix: compile the declaration again", kernel,
                 (long long)streams, (long long)iterations, (long long)most_streams, (long long)most_iterations);
}

/// body(first token, tokens) for every few tokens of a tile.
template <typename Body> static void forEachLanes(int64_t begin, int64_t end, Body &&body) {
  for (int64_t t = begin; t < end; t += lanes)
    body(t, end - t < lanes ? end - t : lanes);
}

extern "C" {

int32_t mg_mhc_read(const MgLaunch *launch) {
  MG_ENTER(mg_mhc_read);
  int64_t rows = launch->ints[number::rows], streams = launch->ints[number::streams], cols = launch->ints[number::cols];
  int64_t iterations = launch->ints[number::iterations], all = streams * (streams + 2), kept = streams * (streams + 1);
  double eps = launch->doubles[real::eps];
  float *u = output(launch, at::u), *maps = output(launch, at::maps);
  const float *x = input(launch, at::x), *logits = input(launch, at::logits), *bias = input(launch, at::bias);
  if (int32_t status = checkSizes("mg_mhc_read", streams, iterations))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    Maps of;
    forEachLanes(begin, end, [&](int64_t first, int64_t count) {
      computeMaps(of, x + first * streams * cols, logits + first * all, bias, count, streams, cols, iterations, eps);
      for (int64_t lane = 0; lane < count; ++lane) {
        int64_t t = first + lane;
        for (int64_t r = 0; r < kept; ++r)
          maps[t * kept + r] = of.l[streams + r][lane];
        for (int64_t j = 0; j < cols; ++j)
          u[t * cols + j] = of.l[0][lane] * x[t * streams * cols + j];
        for (int64_t i = 1; i < streams; ++i)
          for (int64_t j = 0; j < cols; ++j)
            u[t * cols + j] += of.l[i][lane] * x[(t * streams + i) * cols + j];
      }
    });
  });
  return 0;
}

// Of the mean: d_rstd = sum_r d_l[r] logits[r], and rstd^3 / width of it goes to every x.
int32_t mg_mhc_read_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mhc_read_grad);
  int64_t rows = launch->ints[number::rows], streams = launch->ints[number::streams], cols = launch->ints[number::cols];
  int64_t iterations = launch->ints[number::iterations], all = streams * (streams + 2), kept = streams * (streams + 1);
  int64_t tiles = (rows + tile_rows - 1) / tile_rows, width = streams * cols;
  double eps = launch->doubles[real::eps];
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_x = output(launch, at::d_x), *d_logits = output(launch, at::d_logits);
  const float *d_u = input(launch, at::d_u), *d_maps = input(launch, at::d_maps), *x = input(launch, at::x);
  const float *logits = input(launch, at::logits), *bias = input(launch, at::bias), *addend = input(launch, at::addend);
  if (int32_t status = checkSizes("mg_mhc_read_grad", streams, iterations))
    return status;
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(tiles * all);
  if (int32_t status = scratch.check("mg_mhc_read_grad"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    Maps of;
    float gradient[most_streams * (most_streams + 2)][lanes], pre[most_streams][lanes];
    float *sum = partial + begin / tile_rows * all;
    for (int64_t r = 0; r < all; ++r)
      sum[r] = 0;
    forEachLanes(begin, end, [&](int64_t first, int64_t count) {
      computeMaps(of, x + first * width, logits + first * all, bias, count, streams, cols, iterations, eps);
      for (int64_t lane = 0; lane < lanes; ++lane) {
        int64_t t = first + lane;
        for (int64_t i = 0; i < streams; ++i) {
          pre[i][lane] = of.l[i][lane];
          gradient[i][lane] = lane < count ? dot(d_u + t * cols, x + t * width + i * cols, cols) : 0.0f;
        }
        for (int64_t r = 0; r < kept; ++r)
          gradient[streams + r][lane] = lane < count ? d_maps[t * kept + r] : 0.0f;
      }
      backwardMaps(of, gradient, streams, iterations);
      for (int64_t lane = 0; lane < count; ++lane) {
        int64_t t = first + lane;
        float rstd = of.rstd[lane], d_rstd = 0;
        for (int64_t r = 0; r < all; ++r) {
          float g = gradient[r][lane];
          sum[r] += g;
          d_rstd += g * logits[t * all + r];
          d_logits[t * all + r] = g * rstd;
        }
        float through_mean = -d_rstd * rstd * rstd * rstd / float(width);
        for (int64_t i = 0; i < streams; ++i) {
          int64_t row = t * width + i * cols;
          for (int64_t j = 0; j < cols; ++j)
            d_x[row + j] = pre[i][lane] * d_u[t * cols + j] + through_mean * x[row + j] + (addend ? addend[row + j] : 0.0f);
        }
      }
    });
  });
  sumTiles(partial, tiles, all, add, output(launch, at::d_bias));
  return 0;
}

int32_t mg_mhc_write(const MgLaunch *launch) {
  MG_ENTER(mg_mhc_write);
  int64_t rows = launch->ints[number::rows], streams = launch->ints[number::streams], cols = launch->ints[number::cols];
  const float *x = input(launch, at::x), *v = input(launch, at::v), *maps = input(launch, at::maps);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *post = maps + t * streams * (streams + 1), *res = post + streams;
      for (int64_t j = 0; j < streams; ++j) {
        float *y = output(launch, at::y) + (t * streams + j) * cols;
        for (int64_t c = 0; c < cols; ++c)
          y[c] = post[j] * v[t * cols + c];
        for (int64_t i = 0; i < streams; ++i)
          for (int64_t c = 0; c < cols; ++c)
            y[c] += res[j * streams + i] * x[(t * streams + i) * cols + c];
      }
    }
  });
  return 0;
}

int32_t mg_mhc_write_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mhc_write_grad);
  int64_t rows = launch->ints[number::rows], streams = launch->ints[number::streams], cols = launch->ints[number::cols];
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *v = input(launch, at::v), *maps = input(launch, at::maps);
  if (int32_t status = checkSizes("mg_mhc_write_grad", streams, 1))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *post = maps + t * streams * (streams + 1), *res = post + streams, *value = v + t * cols;
      float *d_post = output(launch, at::d_maps) + t * streams * (streams + 1), *d_res = d_post + streams;
      for (int64_t j = 0; j < streams; ++j) {
        const float *g = d_y + (t * streams + j) * cols;
        d_post[j] = dot(g, value, cols);
        for (int64_t i = 0; i < streams; ++i)
          d_res[j * streams + i] = dot(g, x + (t * streams + i) * cols, cols);
      }
      // d_x may stand where d_y does: a few columns of all its streams are read before they are written.
      for (int64_t from = 0; from < cols; from += tile_cols) {
        int64_t count = cols - from < tile_cols ? cols - from : tile_cols;
        float g[most_streams][tile_cols], *d_v = output(launch, at::d_v) + t * cols + from;
        for (int64_t c = 0; c < count; ++c)
          d_v[c] = 0;
        for (int64_t j = 0; j < streams; ++j)
          for (int64_t c = 0; c < count; ++c) {
            g[j][c] = d_y[(t * streams + j) * cols + from + c];
            d_v[c] += post[j] * g[j][c];
          }
        for (int64_t i = 0; i < streams; ++i) {
          float *d_x = output(launch, at::d_x) + (t * streams + i) * cols + from;
          for (int64_t c = 0; c < count; ++c)
            d_x[c] = 0;
          for (int64_t j = 0; j < streams; ++j)
            for (int64_t c = 0; c < count; ++c)
              d_x[c] += res[j * streams + i] * g[j][c];
        }
      }
    }
  });
  return 0;
}
}

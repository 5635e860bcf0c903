#include "runtime/train/Progress.h"

#include <cmath>
#include <cstdio>
#include <unistd.h>

namespace megacc::runtime {

std::string durationText(double seconds) {
  char text[64];
  long long whole = std::llround(seconds);
  if (whole >= 3600)
    snprintf(text, sizeof text, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
  else if (whole >= 60)
    snprintf(text, sizeof text, "%lld min %02lld s", whole / 60, whole % 60);
  else
    snprintf(text, sizeof text, "%lld s", whole);
  return text;
}

Progress::Progress(int64_t first, int64_t last, int64_t tokens)
    : first(first), last(last), tokens(tokens), terminal(isatty(STDERR_FILENO)), begin(Clock::now()), printed(begin), measured(begin),
      measured_step(first - 1) {}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - begin).count(); }

void Progress::show(int64_t done, double loss) {
  Clock::time_point now = Clock::now();
  auto since = [&](Clock::time_point time) { return std::chrono::duration<double>(now - time).count(); };
  double window = since(measured);
  if (window > 0)
    speed = double(done - measured_step) * double(tokens) / window;
  if (window > 5)
    measured = now, measured_step = done;
  if (since(printed) < (terminal ? 0.1 : 5.0) && done != last && done != first)
    return;
  printed = now;
  int64_t all = last - first + 1, count = done - first + 1;
  constexpr int width = 24;
  int filled = int(width * count / all);
  std::string bar = std::string(filled, '#') + std::string(width - filled, '.');
  double left = since(begin) / double(count) * double(all - count);
  fprintf(stderr, "%s  [%s] step %lld/%lld  loss %.4f  %.0f tokens/s  %s left%s", terminal ? "\r" : "", bar.c_str(), (long long)done,
          (long long)last, loss, speed, durationText(left).c_str(), terminal ? "\033[K" : "\n");
  fflush(stderr);
  shown = terminal;
}

void Progress::clear() {
  if (shown)
    fputc('\n', stderr);
  shown = false;
}

} // namespace megacc::runtime

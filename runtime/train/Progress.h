// A progress bar on a terminal, a line now and then elsewhere.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace megacc::runtime {

class Progress {
public:
  /// Steps `first` to `last` will be done, each of `tokens` tokens.
  Progress(int64_t first, int64_t last, int64_t tokens);
  /// Step `done` is finished.
  void show(int64_t done, double loss);
  /// Ends the bar's line, so that something else can be printed.
  void clear();
  /// Over the last seconds.
  double tokensPerSecond() const { return speed; }
  double seconds() const;

private:
  using Clock = std::chrono::steady_clock;
  int64_t first, last, tokens;
  bool terminal, shown = false;
  Clock::time_point begin, printed, measured;
  int64_t measured_step;
  double speed = 0;
};

/// "1 h 02 min", "3 min 05 s", "12 s".
std::string durationText(double seconds);

} // namespace megacc::runtime

// Ranks that TCP connects, every one with every other.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace megacc::runtime {

class Peers {
public:
  /// Rank `rank` of `size`; the first one waits for the others at `port` of its host, which is `address` for them.
  struct Meeting {
    int64_t rank, size;
    std::string address;
    int port;
  };

  /// Meets the others. Throws std::runtime_error, after `patience` with the ranks that did not come.
  Peers(const Meeting &meeting, std::chrono::milliseconds patience);
  ~Peers();
  Peers(const Peers &) = delete;
  Peers &operator=(const Peers &) = delete;

  int64_t rank() const { return mine; }
  int64_t size() const { return int64_t(sockets.size()); }

  /// Gives `bytes` to each of `ranks`, of which this is one, and takes as many of each, in their order. Each gets a part of its own of what
  /// is given (`in_parts`), or all of them the same. All of these ranks call it in the same order. Throws std::runtime_error where one has
  /// ended or gives another number of bytes.
  void exchange(std::span<const int64_t> ranks, const void *give, void *take, size_t bytes, bool in_parts) const;
  /// Throws std::runtime_error, which names them, where ranks have ended. Waits for nothing.
  void check() const;

private:
  int64_t mine;
  std::vector<int> sockets; // by rank; -1: this rank
};

} // namespace megacc::runtime

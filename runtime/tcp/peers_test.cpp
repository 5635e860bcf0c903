#include "runtime/tcp/Peers.h"

#include <arpa/inet.h>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

using namespace megacc::runtime;
using namespace std::chrono_literals;

namespace {

/// A port that nobody has.
int findPort() {
  int listening = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any = {};
  any.sin_family = AF_INET;
  socklen_t bytes = sizeof any;
  EXPECT_EQ(bind(listening, reinterpret_cast<sockaddr *>(&any), bytes), 0);
  getsockname(listening, reinterpret_cast<sockaddr *>(&any), &bytes);
  close(listening);
  return ntohs(any.sin_port);
}

/// Every rank on a thread of its own; what each of them throws, or "".
std::vector<std::string> runRanks(int64_t size, const std::function<void(int64_t rank, int port)> &body) {
  std::vector<std::string> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  int port = findPort();
  for (int64_t rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(rank, port);
      } catch (const std::exception &error) {
        errors[size_t(rank)] = error.what();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  return errors;
}

/// What rank `from` gives to rank `to` at place i.
int32_t number(int64_t from, int64_t to, size_t i) { return int32_t(1000003 * from + 10007 * to + int64_t(i)); }

} // namespace

TEST(Peers, AllGiveAndTakeInTheOrderOfRanks) {
  for (int64_t size : {1, 2, 5}) {
    auto errors = runRanks(size, [&](int64_t rank, int port) {
      Peers peers({rank, size, "127.0.0.1", port}, 20s);
      std::vector<int64_t> all;
      for (int64_t other = 0; other < size; ++other)
        all.push_back(other);
      // Nothing, a number, more than a socket holds.
      for (size_t count : {size_t(0), size_t(1), size_t(3 << 20)})
        for (bool in_parts : {false, true}) {
          std::vector<int32_t> give(count * (in_parts ? all.size() : 1)), take(count * all.size(), -1);
          for (size_t i = 0; i < give.size(); ++i)
            give[i] = number(rank, in_parts ? int64_t(i / count) : 0, i);
          peers.exchange(all, give.data(), take.data(), count * sizeof(int32_t), in_parts);
          for (int64_t other = 0; other < size; ++other)
            for (size_t i = 0; i < count; ++i)
              ASSERT_EQ(take[size_t(other) * count + i], in_parts ? number(other, rank, size_t(rank) * count + i) : number(other, 0, i));
        }
    });
    EXPECT_EQ(errors, std::vector<std::string>(size_t(size)));
  }
}

TEST(Peers, SomeOfTheRanksAlone) {
  auto errors = runRanks(4, [&](int64_t rank, int port) {
    Peers peers({rank, 4, "localhost", port}, 20s);
    std::vector<int64_t> pair = {rank % 2, rank % 2 + 2};
    for (int turn = 0; turn < 100; ++turn) {
      int64_t mine = 10 * rank + turn, taken[2] = {};
      peers.exchange(pair, &mine, taken, sizeof mine, false);
      ASSERT_EQ(taken[0], 10 * pair[0] + turn);
      ASSERT_EQ(taken[1], 10 * pair[1] + turn);
    }
  });
  EXPECT_EQ(errors, std::vector<std::string>(4));
}

TEST(Peers, ARankThatEndsIsNamedByAllOthers) {
  std::unique_ptr<Peers> ranks[3]; // those that are left stay until the end
  auto errors = runRanks(3, [&](int64_t rank, int port) {
    std::unique_ptr<Peers> &peers = ranks[rank];
    peers = std::make_unique<Peers>(Peers::Meeting{rank, 3, "127.0.0.1", port}, 20s);
    std::vector<int64_t> all = {0, 1, 2};
    char give = 0, take[3];
    peers->exchange(all, &give, take, 1, false);
    if (rank == 1)
      return peers.reset();
    peers->exchange(all, &give, take, 1, false);
  });
  EXPECT_EQ(errors, (std::vector<std::string>{"rank 1 has ended", "", "rank 1 has ended"}));
}

TEST(Peers, RanksAtOtherPlacesOfTheStepAreRefused) {
  auto errors = runRanks(2, [&](int64_t rank, int port) {
    Peers peers({rank, 2, "127.0.0.1", port}, 20s);
    std::vector<int64_t> all = {0, 1};
    std::vector<char> give(size_t(8 + rank)), take(20);
    peers.exchange(all, give.data(), take.data(), give.size(), false);
  });
  for (int64_t rank : {0, 1}) {
    std::string text = "rank " + std::to_string(1 - rank) + " gives " + std::to_string(9 - rank) + " bytes where rank " +
                       std::to_string(rank) + " takes " + std::to_string(8 + rank);
    // The other one may have ended first.
    EXPECT_TRUE(errors[size_t(rank)].starts_with(text) || errors[size_t(rank)].ends_with("has ended")) << errors[size_t(rank)];
  }
  EXPECT_FALSE(errors[0].ends_with("has ended") && errors[1].ends_with("has ended"));
}

TEST(Peers, ThoseThatDoNotComeAreNamed) {
  auto errors = runRanks(1, [&](int64_t, int port) { Peers({0, 3, "127.0.0.1", port}, 100ms); });
  EXPECT_TRUE(errors[0].starts_with("after 0 s ranks 1, 2 of 3 did not come to rank 0, port ")) << errors[0];
  errors = runRanks(1, [&](int64_t, int port) { Peers({1, 2, "127.0.0.1", port}, 100ms); });
  EXPECT_TRUE(errors[0].starts_with("rank 0 was not found at 127.0.0.1:")) << errors[0];
  EXPECT_NE(errors[0].find("fix: start all ranks"), std::string::npos) << errors[0];
}

TEST(Peers, OtherNumbersOfRanksAndRanksTwiceAreRefused) {
  auto errors = runRanks(2, [&](int64_t rank, int port) { Peers({rank, 2 + rank, "127.0.0.1", port}, 20s); });
  EXPECT_EQ(errors[0], "rank 1 has WORLD_SIZE 3, rank 0 has 2; fix: start all ranks with the same");
  EXPECT_NE(errors[1], "");
  errors = runRanks(3, [&](int64_t rank, int port) { Peers({rank ? 1 : 0, 3, "127.0.0.1", port}, 20s); });
  EXPECT_EQ(errors[0], "rank 1 came to rank 0 a second time; fix: start every rank once, each with a RANK of its own");
}

TEST(Peers, StrangersAreSentAway) {
  auto errors = runRanks(3, [&](int64_t rank, int port) {
    if (rank < 2) {
      Peers peers({rank, 2, "127.0.0.1", port}, 20s);
      return;
    }
    sockaddr_in place = {};
    place.sin_family = AF_INET, place.sin_port = htons(uint16_t(port)), place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int stranger = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(stranger, reinterpret_cast<sockaddr *>(&place), sizeof place) == 0)
      (void)!write(stranger, "GET / HTTP/1.0\r\nUser-Agent: somebody else\r\n\r\n", 46);
    close(stranger);
  });
  EXPECT_EQ(errors, std::vector<std::string>(3));
}

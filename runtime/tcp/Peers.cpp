#include "runtime/tcp/Peers.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace megacc::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// The first words of a rank to another.
struct Hello {
  char magic[8] = {'m', 'e', 'g', 'a', 'c', 'c', '0', '1'};
  int64_t rank = 0, size = 0, port = 0; // port: where ranks after this one find it

  bool isOurs() const { return std::memcmp(magic, Hello().magic, sizeof magic) == 0; }
};
/// Where a rank is found.
struct Place {
  char address[64] = "";
  int64_t port = 0;
};

[[noreturn]] void fail(const std::string &what) { throw std::runtime_error(what); }
std::string systemText() { return std::strerror(errno); }

/// "rank 1", "ranks 1, 3".
std::string nameRanks(const std::vector<int64_t> &ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i)
    text += (i ? ", " : "") + std::to_string(ranks[i]);
  return text;
}

/// A socket until it is released.
class Socket {
public:
  explicit Socket(int number = -1) : number(number) {}
  Socket(Socket &&other) noexcept : number(other.release()) {}
  Socket &operator=(Socket &&other) noexcept {
    std::swap(number, other.number);
    return *this;
  }
  ~Socket() {
    if (number >= 0)
      close(number);
  }
  int get() const { return number; }
  int release() { return std::exchange(number, -1); }
  explicit operator bool() const { return number >= 0; }

private:
  int number;
};

/// Waits until it is ready or the time has come; false then.
bool waitFor(int socket, short events, Clock::time_point until) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd one = {socket, events, 0};
    int ready = poll(&one, 1, int(std::max<int64_t>(left, 0)));
    if (ready > 0)
      return true;
    if (ready == 0 || errno != EINTR)
      return false;
  }
}

/// All of a struct at once; false where the other side ends or the time has come.
template <typename T> bool sendWhole(int socket, const T &value, Clock::time_point until) {
  const char *bytes = reinterpret_cast<const char *>(&value);
  for (size_t sent = 0; sent < sizeof value;) {
    ssize_t count = send(socket, bytes + sent, sizeof value - sent, MSG_NOSIGNAL);
    if (count > 0)
      sent += size_t(count);
    else if (errno != EINTR && (errno != EAGAIN || !waitFor(socket, POLLOUT, until)))
      return false;
  }
  return true;
}
template <typename T> bool receiveWhole(int socket, T &value, Clock::time_point until) {
  char *bytes = reinterpret_cast<char *>(&value);
  for (size_t received = 0; received < sizeof value;) {
    if (!waitFor(socket, POLLIN, until))
      return false;
    ssize_t count = recv(socket, bytes + received, sizeof value - received, 0);
    if (count > 0)
      received += size_t(count);
    else if (count == 0 || (errno != EINTR && errno != EAGAIN))
      return false;
  }
  return true;
}

/// Small messages go at once; a host that is gone is noticed within 20 seconds.
void prepare(int socket) {
  auto set = [&](int level, int option, int value) { setsockopt(socket, level, option, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 20'000);
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
}

/// Listens on all addresses of this host; port 0: any that is free.
Socket listenAt(int port) {
  Socket made(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1, off = 0, bound = -1;
  if (made) {
    setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    sockaddr_in6 any = {};
    any.sin6_family = AF_INET6, any.sin6_port = htons(uint16_t(port)), any.sin6_addr = in6addr_any;
    bound = bind(made.get(), reinterpret_cast<sockaddr *>(&any), sizeof any);
  }
  if (!made || (bound != 0 && errno == EADDRNOTAVAIL)) { // a host without IPv6
    made = Socket(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in any = {};
    any.sin_family = AF_INET, any.sin_port = htons(uint16_t(port));
    bound = bind(made.get(), reinterpret_cast<sockaddr *>(&any), sizeof any);
  }
  if (bound != 0 || listen(made.get(), SOMAXCONN) != 0)
    fail("other ranks cannot be waited for at port " + std::to_string(port) + ": " + systemText() + "; fix: another MASTER_PORT");
  prepare(made.get());
  return made;
}

int portOf(const Socket &listening) {
  sockaddr_storage address = {};
  socklen_t bytes = sizeof address;
  getsockname(listening.get(), reinterpret_cast<sockaddr *>(&address), &bytes);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6 &>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in &>(address).sin_port);
}

/// The address of the other side, as digits.
std::string addressOf(const Socket &connected) {
  sockaddr_storage address = {};
  socklen_t bytes = sizeof address;
  char text[64] = "";
  getpeername(connected.get(), reinterpret_cast<sockaddr *>(&address), &bytes);
  getnameinfo(reinterpret_cast<sockaddr *>(&address), bytes, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  std::string digits = text;
  return digits.starts_with("::ffff:") ? digits.substr(7) : digits;
}

bool isLoopback(const std::string &address) { return address.starts_with("127.") || address == "::1"; }

/// One attempt at every address of a host; nothing where none answers, and why in `reason`.
Socket connectOnce(const std::string &host, int port, Clock::time_point until, std::string &reason) {
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (int status = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found)) {
    reason = gai_strerror(status);
    return Socket();
  }
  std::unique_ptr<addrinfo, void (*)(addrinfo *)> owned(found, freeaddrinfo);
  for (addrinfo *each = found; each; each = each->ai_next) {
    Socket made(socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!made)
      continue;
    prepare(made.get());
    int error = connect(made.get(), each->ai_addr, each->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      socklen_t bytes = sizeof error;
      if (!waitFor(made.get(), POLLOUT, until))
        error = ETIMEDOUT;
      else
        getsockopt(made.get(), SOL_SOCKET, SO_ERROR, &error, &bytes);
    }
    if (error == 0)
      return made;
    reason = std::strerror(error);
  }
  return Socket();
}

Socket connectTo(const std::string &host, int64_t port, int64_t rank, Clock::time_point until) {
  std::string reason;
  do {
    if (Socket made = connectOnce(host, int(port), until, reason))
      return made;
    std::this_thread::sleep_for(50ms);
  } while (Clock::now() < until);
  fail("rank " + std::to_string(rank) + " was not found at " + host + ":" + std::to_string(port) + ": " + reason +
       "; fix: start all ranks, with the MASTER_ADDR and MASTER_PORT of rank 0's host");
}

/// The next rank that comes, and what it says of itself; whoever is none is sent away. No socket where the time has come.
std::pair<Socket, Hello> acceptRank(const Socket &listening, Clock::time_point until) {
  while (waitFor(listening.get(), POLLIN, until)) {
    Socket made(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!made)
      continue;
    prepare(made.get());
    Hello hello;
    if (receiveWhole(made.get(), hello, std::min(until, Clock::now() + 5s)) && hello.isOurs())
      return {std::move(made), hello};
  }
  return {Socket(), Hello()};
}

/// Bytes that go to a rank and come from it, each behind their number.
struct Transfer {
  int64_t rank;
  int socket;
  const char *give;
  char *take;
  uint64_t announced = 0;
  size_t sent = 0, received = 0;
};

/// As much as can be moved now of `number` and then `bytes` of the body; false where the other side has ended.
template <typename Move> bool moveSome(size_t &done, char *number, char *body, size_t bytes, Move &&move) {
  while (done < sizeof(uint64_t) + bytes) {
    bool in_number = done < sizeof(uint64_t);
    char *from = in_number ? number + done : body + (done - sizeof(uint64_t));
    ssize_t count = move(from, in_number ? sizeof(uint64_t) - done : bytes - (done - sizeof(uint64_t)));
    if (count > 0)
      done += size_t(count);
    else if (count < 0 && errno == EINTR)
      continue;
    else
      return count < 0 && errno == EAGAIN;
    if (in_number && done == sizeof(uint64_t))
      return true; // a number is looked at before what follows it is taken
  }
  return true;
}

} // namespace

Peers::Peers(const Meeting &meeting, std::chrono::milliseconds patience) : mine(meeting.rank) {
  auto until = Clock::now() + patience;
  std::vector<Socket> made(size_t(meeting.size));
  std::vector<Place> places(made.size());
  Hello hello;
  hello.rank = mine, hello.size = meeting.size;
  Socket listening = listenAt(mine == 0 ? meeting.port : 0);
  hello.port = portOf(listening);
  /// Waits for the ranks from `first` on that are not there yet.
  auto await = [&](int64_t first) {
    for (;;) {
      std::vector<int64_t> missing;
      for (int64_t rank = first; rank < meeting.size; ++rank)
        if (!made[size_t(rank)])
          missing.push_back(rank);
      if (missing.empty())
        return;
      auto [other, said] = acceptRank(listening, until);
      if (!other)
        fail("after " + std::to_string(patience.count() / 1000) + " s " + nameRanks(missing) + " of " + std::to_string(meeting.size) +
             " did not come to rank " + std::to_string(mine) + (mine ? "" : ", port " + std::to_string(meeting.port)) +
             "; fix: start all ranks, with the MASTER_ADDR and MASTER_PORT of rank 0's host");
      if (said.size != meeting.size)
        fail("rank " + std::to_string(said.rank) + " has WORLD_SIZE " + std::to_string(said.size) + ", rank " + std::to_string(mine) +
             " has " + std::to_string(meeting.size) + "; fix: start all ranks with the same");
      if (said.rank < first || said.rank >= meeting.size || made[size_t(said.rank)])
        fail("rank " + std::to_string(said.rank) + " came to rank " + std::to_string(mine) +
             " a second time; fix: start every rank once, each with a RANK of its own");
      std::snprintf(places[size_t(said.rank)].address, sizeof Place::address, "%s", addressOf(other).c_str());
      places[size_t(said.rank)].port = said.port;
      made[size_t(said.rank)] = std::move(other);
    }
  };
  if (mine == 0) {
    await(1);
    for (const Socket &other : made)
      for (const Place &place : places)
        if (other)
          sendWhole(other.get(), place, until);
  } else {
    made[0] = connectTo(meeting.address, meeting.port, 0, until);
    bool good = sendWhole(made[0].get(), hello, until);
    for (Place &place : places)
      good = good && receiveWhole(made[0].get(), place, until);
    if (!good)
      fail("rank 0 has ended, or some rank did not come within " + std::to_string(patience.count() / 1000) + " s");
    for (int64_t rank = 1; rank < mine; ++rank) {
      Place &place = places[size_t(rank)];
      // What rank 0 sees as its own host is for others the host where they found it.
      std::string address = isLoopback(place.address) ? addressOf(made[0]) : place.address;
      made[size_t(rank)] = connectTo(address, place.port, rank, until);
      sendWhole(made[size_t(rank)].get(), hello, until);
    }
    await(mine + 1);
  }
  for (Socket &socket : made)
    sockets.push_back(socket.release());
}

Peers::~Peers() {
  for (int socket : sockets)
    if (socket >= 0)
      close(socket);
}

void Peers::check() const {
  std::vector<pollfd> all;
  for (int socket : sockets)
    all.push_back({socket, POLLRDHUP, 0});
  poll(all.data(), all.size(), 0);
  std::vector<int64_t> ended;
  for (size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank].revents & (POLLRDHUP | POLLHUP | POLLERR))
      ended.push_back(int64_t(rank));
  if (!ended.empty())
    fail(nameRanks(ended) + (ended.size() == 1 ? " has ended" : " have ended"));
}

void Peers::exchange(std::span<const int64_t> ranks, const void *give, void *take, size_t bytes, bool in_parts) const {
  std::vector<Transfer> all;
  for (size_t place = 0; place < ranks.size(); ++place) {
    const char *from = static_cast<const char *>(give) + (in_parts ? place * bytes : 0);
    char *to = static_cast<char *>(take) + place * bytes;
    if (ranks[place] != mine)
      all.push_back({ranks[place], sockets[size_t(ranks[place])], from, to});
    else if (bytes)
      std::memmove(to, from, bytes);
  }
  uint64_t number = bytes;
  const size_t whole = sizeof number + bytes;
  auto lost = [&](int64_t rank) {
    check(); // names all that have ended: the first of them may be another
    fail("the connection to rank " + std::to_string(rank) + " broke: " + systemText());
  };
  for (;;) {
    std::vector<pollfd> wanted;
    std::vector<Transfer *> of;
    for (Transfer &each : all)
      if (short events = short((each.sent < whole ? POLLOUT : 0) | (each.received < whole ? POLLIN : 0)))
        wanted.push_back({each.socket, events, 0}), of.push_back(&each);
    if (wanted.empty())
      return;
    if (poll(wanted.data(), wanted.size(), -1) < 0 && errno != EINTR)
      fail("waiting for other ranks: " + systemText());
    for (size_t i = 0; i < wanted.size(); ++i) {
      Transfer &each = *of[i];
      constexpr short broken = POLLHUP | POLLERR; // what happened is the error of the next call
      if (each.sent < whole && wanted[i].revents & (POLLOUT | broken) &&
          !moveSome(
              each.sent, reinterpret_cast<char *>(&number), const_cast<char *>(each.give), bytes,
              [&](char *from, size_t count) { return send(each.socket, from, count, MSG_NOSIGNAL); }))
        lost(each.rank);
      if (each.received == whole || !(wanted[i].revents & (POLLIN | broken)))
        continue;
      if (!moveSome(each.received, reinterpret_cast<char *>(&each.announced), each.take, bytes,
                    [&](char *to, size_t count) { return recv(each.socket, to, count, 0); }))
        lost(each.rank);
      if (each.received >= sizeof number && each.announced != bytes)
        fail("rank " + std::to_string(each.rank) + " gives " + std::to_string(each.announced) + " bytes where rank " +
             std::to_string(mine) + " takes " + std::to_string(bytes) + ": they are not at the same place of the step");
    }
  }
}

} // namespace megacc::runtime

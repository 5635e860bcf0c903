#include "runtime/core/Watchdog.h"

#include <atomic>
#include <future>
#include <gtest/gtest.h>

using namespace megacc::runtime;

namespace {

/// A communicator whose calls wait until they are let go.
struct Waiting {
  std::promise<void> go;
  MgCommunicator self = {exchange, exchange, 0, 2, this, [](MgCommunicator *) { return 7; }, [] { return "nothing"; }};

  static int32_t exchange(MgCommunicator *self, const void *, void *, int64_t) {
    static_cast<Waiting *>(self->handle)->go.get_future().wait();
    return 3;
  }
};

} // namespace

TEST(Watchdog, SaysWhereARankWaits) {
  Waiting others;
  std::promise<std::string> failed, noted;
  Watchdog dog;
  dog.start(std::chrono::seconds(1), {[&](const std::string &text) { failed.set_value(text); },
                                      [&](const std::string &text) { noted.set_value(text); }, [] { return 15; }});
  MgCommunicator *watched = dog.watch(&others.self, "axis tp");
  EXPECT_EQ(watched->size, 2);
  EXPECT_EQ(watched->check(watched), 7);
  LaunchRecord launch;
  launch.kernel = "mg_all_reduce", launch.path = "blocks.1.mixer";
  dog.noteStep(4);
  dog.enter(&launch);
  std::future<int32_t> status = std::async(std::launch::async, [&] { return watched->exchange(watched, nullptr, nullptr, 0); });
  const std::string where = "in mg_all_reduce at \"blocks.1.mixer\"";
  std::string note = noted.get_future().get(), failure = failed.get_future().get();
  EXPECT_EQ(note.find("signal 15 after step 4: waiting for the ranks of axis tp for "), 0u) << note;
  EXPECT_NE(note.find(where), std::string::npos) << note;
  EXPECT_EQ(failure.find("after step 4: waiting for the ranks of axis tp for "), 0u) << failure;
  EXPECT_NE(failure.find(where + "; fix: "), std::string::npos) << failure;
  others.go.set_value();
  EXPECT_EQ(status.get(), 3);
}

TEST(Watchdog, CallsThatEndAreNotReported) {
  Waiting others;
  others.go.set_value();
  Watchdog dog;
  std::atomic<int> said = 0;
  auto count = [&](const std::string &) { ++said; };
  dog.start(std::chrono::seconds(1), {count, count, [] { return 0; }});
  MgCommunicator *watched = dog.watch(&others.self, "axis dp");
  EXPECT_EQ(watched->gather(watched, nullptr, nullptr, 0), 3);
  std::this_thread::sleep_for(std::chrono::milliseconds(1300));
  EXPECT_EQ(said, 0);
}

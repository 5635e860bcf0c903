#include "runtime/cuda/Card.h"

#include <gtest/gtest.h>

using namespace megacc::runtime::cuda;

TEST(Card, HopperWithItsDriverServes) {
  CardFacts facts{.driver = 13000, .needed = 13000, .count = 1, .name = "NVIDIA H100", .major = 9};
  EXPECT_EQ(refuseDriver(facts), "");
  EXPECT_EQ(refuseCard(facts), "");
  facts.count = 2, facts.place = 1, facts.driver = 13020;
  EXPECT_EQ(refuseDriver(facts), "");
}

TEST(Card, NoDriver) { EXPECT_NE(refuseDriver({.needed = 13000}).find("no NVIDIA driver"), std::string::npos); }

TEST(Card, DriverTooOld) {
  EXPECT_EQ(refuseDriver({.driver = 12080, .needed = 13000, .count = 1}),
            "the driver supports CUDA 12.8, these kernels need 13.0; fix: a newer driver");
}

TEST(Card, NoCard) {
  std::string why = refuseDriver({.driver = 13000, .needed = 13000, .said = "no CUDA-capable device is detected"});
  EXPECT_NE(why.find("there is no card to run on (CUDA says \"no CUDA-capable device is detected\")"), std::string::npos) << why;
}

TEST(Card, MoreRanksThanCards) {
  std::string why = refuseDriver({.driver = 13000, .needed = 13000, .count = 2, .place = 2});
  EXPECT_NE(why.find("rank 2 of its machine, which has 2 cards"), std::string::npos) << why;
}

TEST(Card, OfAnotherArchitecture) {
  for (auto [major, minor] : {std::pair(8, 0), {8, 9}, {10, 0}, {9, 1}}) {
    std::string why = refuseCard({.name = "NVIDIA L4", .major = major, .minor = minor});
    std::string capability = std::to_string(major) + "." + std::to_string(minor);
    EXPECT_NE(why.find("the card is a NVIDIA L4 with compute capability " + capability + ", these kernels need 9.0"), std::string::npos)
        << why;
  }
}

TEST(Card, PlanLargerThanTheCard) {
  EXPECT_EQ(refuseSize(100, 100, 200), "");
  std::string why = refuseSize(90LL << 30, 79LL << 30, 80LL << 30);
  EXPECT_NE(why.find("the plan needs 96636764160 bytes, the card has 84825604096 of 85899345920 free; fix: compile with --memory=80896MiB"),
            std::string::npos)
      << why;
}

// Launches that disagree with kernels.def are refused with both numbers by the checked library.
#include "runtime/kernels/TestSupport.h"

#include <cstring>

using namespace megacc::test;

namespace {

struct Norm {
  Values x = randomValues(12, 1), weight = randomValues(4, 2), y = Values(12, NAN);
  Launch launch{"mg_rms_norm", {{"y", y}, {"x", x}, {"weight", weight}}, {{"rows", 3}, {"cols", 4}}, {{"eps", 1e-5}}};
};

void expectRefusal(Launch &launch, std::initializer_list<const char *> parts) {
  ASSERT_NE(launch.run(), 0);
  for (const char *part : parts)
    EXPECT_NE(std::strstr(mg_last_error(), part), nullptr) << mg_last_error() << " lacks: " << part;
}

} // namespace

TEST(CheckedLaunch, AcceptsWhatKernelsDefLists) {
  Norm norm;
  EXPECT_EQ(norm.launch.run(), 0) << mg_last_error();
}

TEST(CheckedLaunch, OperandOfAnotherSize) {
  Norm norm;
  norm.launch.bytes[6] = 20;
  expectRefusal(norm.launch, {"mg_rms_norm", "operand weight", "20 bytes", "expected 16"});
}

TEST(CheckedLaunch, OperandOfAnotherType) {
  Norm norm;
  norm.launch.types[4] = MG_I32;
  expectRefusal(norm.launch, {"operand x", "type 2", "expected any"});
}

TEST(CheckedLaunch, RequiredOperandThatIsAbsent) {
  Norm norm;
  norm.launch.operands[4] = nullptr, norm.launch.bytes[4] = 0, norm.launch.types[4] = MG_ABSENT;
  expectRefusal(norm.launch, {"operand x is absent"});
}

TEST(CheckedLaunch, AnotherNumberOfOperandsAndParameters) {
  Norm operands, ints, doubles;
  operands.launch.operands.pop_back();
  expectRefusal(operands.launch, {"6 operands", "lists 7"});
  ints.launch.ints.push_back(1);
  expectRefusal(ints.launch, {"3 integer parameters", "lists 2"});
  doubles.launch.doubles.clear();
  expectRefusal(doubles.launch, {"0 floating point parameters", "lists 1"});
}

TEST(CheckedLaunch, GroupsAreCounted) {
  Values sum(1), a = {1}, b = {2};
  Launch launch("mg_accumulate_terms", {{"sum", sum}, {"part", a}, {"part", b}}, {{"accumulate", 0}, {"parts", 2}}, {{"scale", 1}});
  EXPECT_EQ(launch.run(), 0) << mg_last_error();
  launch.ints[1] = 3;
  expectRefusal(launch, {"3 operands", "lists 4"});
  launch.ints[1] = -1;
  expectRefusal(launch, {"-1 parts"});
}

TEST(CheckedLaunch, ScratchOfAnotherSize) {
  Values x = randomValues(10, 1), scratch(32);
  Doubles sum(1);
  Launch launch("mg_square_sum", {{"sum", sum}, {"x", x}}, {{"count", 10}}, {});
  launch.operands[launch.scratch] = scratch.data(), launch.bytes[launch.scratch] = 128;
  expectRefusal(launch, {"mg_square_sum", "128 bytes", "it needs 64"});
}

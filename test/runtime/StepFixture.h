// A step of a target whose arena cannot be touched: everything the runtime does with memory goes through the target's table.
#pragma once
#include "megacc/KernelSignatures.h"
#include "runtime/core/Step.h"
#include "test/runtime/FakeStep.h"
#include "test/runtime/FakeTarget.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

using namespace megacc::runtime;
using nlohmann::json;
namespace fs = std::filesystem;

inline std::string signatureOf(const std::string &symbol) {
  for (const megacc::KernelSignature &kernel : megacc::kernelSignatures)
    if (kernel.symbol == symbol)
      return kernel.text;
  return "";
}

inline std::string errorOf(const std::function<void()> &body) {
  try {
    body();
  } catch (const std::runtime_error &error) {
    return error.what();
  }
  return "";
}

inline json describePlace(const char *name, const char *dtype, std::vector<int64_t> shape, int64_t offset, int64_t stride = 0) {
  return {{"name", name}, {"dtype", dtype}, {"shape", std::move(shape)}, {"offset", offset}, {"stride", stride}};
}

inline json describeParameter(const char *name, std::vector<int64_t> shape, int64_t offset, int64_t optimizer, int64_t gradient) {
  int64_t bytes = (4 * countElements(shape) + 255) / 256 * 256;
  return {
      {"name", name},    {"dtype", "f32"}, {"shape", std::move(shape)}, {"init", "normal"},     {"init_a", 0.5},  {"decays", true},
      {"trained", true}, {"block", 0},     {"offset", offset},          {"gradient", gradient}, {"m", optimizer}, {"v", optimizer + bytes}};
}

inline json describeLaunch(int64_t block) {
  return {{"kernel", "mg_copy"}, {"path", "a copy"}, {"block", block}, {"flops", 0}, {"bytes", 8}};
}

/// What FakeStep.cpp is, with the parameters a[3, 5] and b[8, 2].
inline json describeStep() {
  using namespace fake_step;
  json inputs = {describePlace("tokens", "i32", {micro_batch, sequence}, tokens, stride),
                 describePlace("targets", "i32", {micro_batch, sequence}, targets, stride),
                 describePlace("positions", "i32", {micro_batch}, positions), describePlace("scalars", "f32", {3}, scalars)};
  json main_loss = describePlace("loss.main", "f32", {1}, loss),
       hidden_output = describePlace("hidden.0", "i32", {micro_batch, sequence}, hidden, stride);
  json sums = describePlace("loss_sum", "f32", {micro_batch}, loss_sum), counts = describePlace("count", "f32", {micro_batch}, count);
  sums["function"] = counts["function"] = "evaluate";
  main_loss["weight"] = 1.0;
  hidden_output["function"] = "micro_batch";
  json update = {
      {"name", "update"}, {"symbol", "megacc_update"}, {"launches", {describeLaunch(-1), describeLaunch(-1), describeLaunch(-1)}}};
  return {
      {"abi", MEGACC_ABI_VERSION},
      {"megacc", "0.1.0"},
      {"target", "fake"},
      {"model", "fake"},
      {"hidden", 8},
      {"vocab", vocab},
      {"sequence", sequence},
      {"depth", 1},
      {"micro_batch", micro_batch},
      {"accumulate", accumulate},
      {"seed", 7},
      {"clip", 1.0},
      {"documents", 0},
      {"precision", "fp32"},
      {"declaration",
       {{"families", {{"A", {{"kind", "copy"}, {"width", 8}}}}},
        {"pattern", "A"},
        {"placements", json::array()},
        {"features", json::array()}}},
      {"mesh", {{"dp", 1}, {"tp", 1}, {"ep", 1}}},
      {"optimizer",
       {{"lr", 0.25}, {"beta1", 0.9}, {"beta2", 0.95}, {"final", -1.0}, {"schedule", "constant"}, {"warmup", 0}, {"steps", 0}}},
      {"segments",
       {{{"name", "weights"}, {"bytes", 512}},
        {{"name", "optimizer"}, {"bytes", 1024}},
        {{"name", "gradients"}, {"bytes", 512}},
        {{"name", "temporaries"}, {"bytes", 256}},
        {{"name", "io"}, {"bytes", io_bytes}},
        {{"name", "constants"}, {"bytes", 256}}}},
      {"parameters", {describeParameter("a", {3, 5}, 0, 0, 0), describeParameter("b", {8, 2}, 256, 512, 256)}},
      {"inputs", inputs},
      {"metrics", {main_loss, describePlace("grad_norm", "f32", {1}, grad_norm), describePlace("invalid.embedding", "i32", {1}, invalid)}},
      {"outputs", {hidden_output, sums, counts}},
      {"kernels", {{"mg_copy", signatureOf("mg_copy")}}},
      {"functions",
       {{{"name", "micro_batch"}, {"symbol", "megacc_micro_batch"}, {"launches", {describeLaunch(0)}}},
        update,
        {{"name", "evaluate"}, {"symbol", "megacc_evaluate"}, {"launches", {describeLaunch(0), describeLaunch(0)}}},
        {{"name", "overrun"}, {"symbol", "megacc_overrun"}, {"launches", json::array()}}}},
      {"receipt", {{{"slot", 0}, {"letter", "A"}, {"family", "copy"}, {"launches", {{"mg_copy", 1}}}}}}};
}

/// b as a bf16 parameter, whose master follows the moments.
inline json describeHalf() {
  json step = describeStep();
  step["parameters"][1]["dtype"] = "bf16";
  step["parameters"][1]["master"] = 1024;
  step["segments"][MG_OPTIMIZER]["bytes"] = 1280;
  return step;
}

class Steps : public testing::Test {
protected:
  void SetUp() override {
    resetFakeTarget();
    std::string name = (fs::temp_directory_path() / "step-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

  /// A step.so with this descriptor.
  std::string write(const json &descriptor) {
    std::ifstream in(MEGACC_FAKE_STEP, std::ios::binary);
    std::string image((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>()), text = descriptor.dump();
    image.replace(image.find("@descriptor@"), text.size(), text);
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(image.data(), image.size()));
    fs::path path = folder / ("step" + std::to_string(++files) + ".so");
    std::ofstream(path, std::ios::binary) << image << std::string(reinterpret_cast<char *>(hash.digest), sizeof hash.digest)
                                          << MEGACC_TRAILER;
    return path;
  }

  std::string refusal(const json &descriptor) {
    std::string path = write(descriptor);
    return errorOf([&] { Step step(path); });
  }

  static void stageTokens(Step &step) {
    for (int64_t m = 0; m < fake_step::accumulate; ++m)
      for (int32_t i = 0; i < 8; ++i)
        step.integers(*step.descriptor().findInput("tokens"), m)[i] = 10 * int32_t(m) + i;
  }

  fs::path folder;
  int files = 0;
};

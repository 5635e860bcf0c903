#include "runtime/core/Descriptor.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace megacc::runtime {
namespace {

using nlohmann::json;

int64_t product(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

const Place *find(const std::vector<Place> &places, std::string_view name) {
  auto found = std::find_if(places.begin(), places.end(), [&](const Place &place) { return place.name == name; });
  return found == places.end() ? nullptr : &*found;
}

std::vector<Place> readPlaces(const json &list) {
  std::vector<Place> places;
  for (const json &entry : list)
    places.push_back({entry.at("name"), entry.at("dtype"), entry.at("shape"), entry.at("offset"), entry.at("stride"),
                      entry.value("weight", 0.0), entry.value("function", "")});
  return places;
}

std::vector<ParameterPlace> readParameters(const json &list) {
  std::vector<ParameterPlace> parameters;
  for (const json &entry : list)
    parameters.push_back({entry.at("name"), entry.at("init"), entry.at("shape"), entry.at("init_a"), entry.at("decays"), entry.at("trained"),
                          entry.at("block"), entry.at("offset"), entry.value("gradient", int64_t(0)), entry.value("m", int64_t(0)),
                          entry.value("v", int64_t(0))});
  return parameters;
}

Descriptor readChecked(const json &root) {
  Descriptor descriptor;
  descriptor.model = root.at("model"), descriptor.target = root.at("target"), descriptor.compiler = root.at("megacc");
  descriptor.hidden = root.at("hidden"), descriptor.vocab = root.at("vocab"), descriptor.sequence = root.at("sequence");
  descriptor.depth = root.at("depth"), descriptor.micro_batch = root.at("micro_batch"), descriptor.accumulate = root.at("accumulate");
  descriptor.seed = uint64_t(root.at("seed").get<int64_t>());
  const json &optimizer = root.at("optimizer");
  descriptor.optimizer = {optimizer.at("lr"),     optimizer.at("beta1"),    optimizer.at("beta2"), optimizer.at("final"),
                          optimizer.at("schedule"), optimizer.at("warmup"), optimizer.at("steps")};
  if (root.at("segments").size() != MG_SEGMENT_COUNT)
    throw ArtifactError("the step has " + std::to_string(root.at("segments").size()) + " segments, expected " +
                        std::to_string(MG_SEGMENT_COUNT));
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment)
    descriptor.segments[segment] = root.at("segments").at(segment).at("bytes");
  descriptor.parameters = readParameters(root.at("parameters"));
  descriptor.inputs = readPlaces(root.at("inputs"));
  descriptor.metrics = readPlaces(root.at("metrics"));
  descriptor.outputs = readPlaces(root.at("outputs"));
  descriptor.kernels = root.at("kernels").get<std::map<std::string, std::string>>();
  for (auto &[name, launches] : root.at("functions").items())
    for (const json &launch : launches)
      descriptor.functions[name].push_back(
          {launch.at("kernel"), launch.at("path"), launch.at("block"), launch.at("flops"), launch.at("bytes")});
  for (const json &row : root.at("receipt"))
    descriptor.receipt.push_back({row.at("slot"), row.value("letter", ""), row.value("family", ""), row.at("launches")});
  return descriptor;
}

} // namespace

int64_t Place::elements() const { return product(shape); }
int64_t ParameterPlace::elements() const { return product(shape); }

const Place *Descriptor::findInput(std::string_view name) const { return find(inputs, name); }
const Place *Descriptor::findMetric(std::string_view name) const { return find(metrics, name); }
const Place *Descriptor::findOutput(std::string_view name) const { return find(outputs, name); }

Descriptor readDescriptor(std::string_view text) {
  json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    throw ArtifactError("its descriptor is damaged; fix: compile the declaration again");
  int64_t abi = root.value("abi", int64_t(0));
  if (abi != MEGACC_ABI_VERSION)
    throw ArtifactError("it was compiled for ABI version " + std::to_string(abi) + ", this megacc-run has " +
                        std::to_string(MEGACC_ABI_VERSION) + "; fix: " +
                        (abi < MEGACC_ABI_VERSION ? "compile the declaration again with this release's megacc" : "use a newer megacc-run"));
  try {
    return readChecked(root);
  } catch (const json::exception &error) {
    throw ArtifactError(std::string("its descriptor is damaged (") + error.what() + "); fix: compile the declaration again");
  }
}

} // namespace megacc::runtime

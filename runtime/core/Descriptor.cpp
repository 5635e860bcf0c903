#include "runtime/core/Descriptor.h"
#include "runtime/core/Hash.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace megacc::runtime {
namespace {

using nlohmann::json;

template <typename Named> const Named *find(const std::vector<Named> &list, std::string_view name) {
  auto found = std::find_if(list.begin(), list.end(), [&](const Named &entry) { return entry.name == name; });
  return found == list.end() ? nullptr : &*found;
}

/// The error for a text that no megacc writes.
[[noreturn]] void refuse(const std::string &what) {
  throw ArtifactError("its descriptor is damaged (" + what + "); fix: compile the declaration again");
}

MgType readType(const json &entry) {
  std::string name = entry.at("dtype");
  for (MgType type : {MG_F32, MG_BF16, MG_F64, MG_I32})
    if (name == typeName(type))
      return type;
  refuse("'" + entry.at("name").get<std::string>() + "' has dtype '" + name + "'; known are f32, bf16, f64, i32");
}

std::vector<int64_t> readShape(const json &entry) {
  std::vector<int64_t> shape = entry.at("shape");
  int64_t elements = 8; // as bytes they must fit, too
  for (int64_t extent : shape)
    if (extent < 0 || __builtin_mul_overflow(elements, extent, &elements))
      refuse("'" + entry.at("name").get<std::string>() + "' has the impossible shape " + shapeText(shape));
  return shape;
}

std::vector<Place> readPlaces(const json &list) {
  std::vector<Place> places;
  for (const json &entry : list)
    places.push_back({entry.at("name"), readType(entry), readShape(entry), entry.at("offset"), entry.at("stride"),
                      entry.value("weight", 0.0), entry.value("function", "")});
  return places;
}

/// Pieces are those of the shape, of axes that there are, and shared evenly.
void checkPieces(const ParameterPlace &parameter, const int64_t (&mesh)[MG_AXIS_COUNT]) {
  if (parameter.pieces.empty())
    return;
  bool good = parameter.pieces.size() == parameter.shape.size() && parameter.ranges.empty();
  for (size_t d = 0; good && d < parameter.pieces.size(); ++d) {
    int64_t left = parameter.shape[d];
    for (auto [axis, size, block] : parameter.pieces[d]) {
      good = good && axis >= -1 && axis < MG_AXIS_COUNT && block > 0 && size > 0 && size <= left && size % block == 0 &&
             (axis < 0 || block % mesh[axis] == 0);
      left -= good ? size : 0;
    }
    good = good && left == 0;
  }
  if (!good)
    refuse("the pieces of parameter '" + parameter.name + "' are not those of " + shapeText(parameter.shape));
}

/// What ranks share of an update has the tensor, in equal parts.
void checkSwept(const ParameterPlace &parameter, const int64_t (&mesh)[MG_AXIS_COUNT]) {
  if (!parameter.swept)
    return;
  auto [axes, first, count] = *parameter.swept;
  int64_t parts = 1;
  for (int axis = 0; axis < MG_AXIS_COUNT; ++axis)
    parts *= axes >> axis & 1 ? mesh[axis] : 1;
  if (axes < 0 || axes >= 1 << MG_AXIS_COUNT || first < 0 || count < 1 || first >= count || count % parts || !parameter.trained)
    refuse("the update of parameter '" + parameter.name + "', element " + std::to_string(first) + " of " + std::to_string(count) +
           ", cannot be shared by " + std::to_string(parts) + " ranks");
}

void checkParameter(const ParameterPlace &parameter, bool whole) {
  if (parameter.type != MG_F32 && parameter.type != MG_BF16)
    refuse("parameter '" + parameter.name + "' has dtype " + typeName(parameter.type) + "; expected f32 or bf16");
  if ((parameter.type == MG_BF16) != parameter.master.has_value())
    refuse("parameter '" + parameter.name + "' is " + typeName(parameter.type) + (parameter.master ? " and has" : " and lacks") +
           " a master");
  if (!parameter.ranges.empty() && parameter.ranges.size() != parameter.shape.size())
    refuse("parameter '" + parameter.name + "' has " + std::to_string(parameter.shape.size()) + " dimensions and ranges for " +
           std::to_string(parameter.ranges.size()));
  for (size_t d = 0; d < parameter.ranges.size(); ++d)
    for (auto [begin, end] : parameter.ranges[d])
      if (begin < 0 || begin >= end || end > parameter.shape[d])
        refuse("parameter '" + parameter.name + "' " + shapeText(parameter.shape) + " has the range [" + std::to_string(begin) + ", " +
               std::to_string(end) + ") in dimension " + std::to_string(d));
  if (!whole)
    return;
  std::vector<ElementRun> runs = parameter.runs();
  std::ranges::sort(runs, {}, &ElementRun::first);
  int64_t covered = 0;
  for (const ElementRun &run : runs)
    covered = run.first == covered ? covered + run.count : -1;
  if (covered != countElements(parameter.shape))
    refuse("the ranges of parameter '" + parameter.name + "' are not its " + std::to_string(countElements(parameter.shape)) +
           " elements, once each, and there is one rank");
}

std::vector<ParameterPlace> readParameters(const json &list, bool whole, MgType moment_type) {
  std::vector<ParameterPlace> parameters;
  for (const json &entry : list) {
    ParameterPlace parameter{entry.at("name"),
                             entry.at("init"),
                             readType(entry),
                             moment_type,
                             readShape(entry),
                             {},
                             {},
                             entry.at("init_a"),
                             entry.at("decays"),
                             entry.at("trained"),
                             entry.at("block"),
                             entry.at("offset"),
                             entry.value("gradient", int64_t(0)),
                             entry.value("m", int64_t(0)),
                             std::nullopt,
                             std::nullopt};
    if (entry.contains("v"))
      parameter.second_moment = entry["v"].get<int64_t>();
    if (entry.contains("ranges"))
      entry["ranges"].get_to(parameter.ranges);
    if (entry.contains("pieces"))
      entry["pieces"].get_to(parameter.pieces);
    if (entry.contains("swept"))
      parameter.swept = entry["swept"].get<std::array<int64_t, 3>>();
    if (entry.contains("master"))
      parameter.master = entry["master"].get<int64_t>();
    checkParameter(parameter, whole);
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

std::map<std::string, std::string> readDeclaration(const json &root) {
  json all = root.at("declaration");
  for (const char *key : {"hidden", "vocab", "sequence"})
    all[key] = root.at(key);
  json &train = all["train"] = {{"optimizer", root.at("optimizer")}};
  train["optimizer"].erase("steps");
  for (const char *key : {"micro_batch", "accumulate", "seed", "clip", "documents"})
    train[key] = root.at(key);
  std::map<std::string, std::string> fields;
  const json flat = all.flatten();
  for (const auto &[path, value] : flat.items())
    fields[path.substr(1)] = value.is_string() ? value.get<std::string>() : value.dump();
  return fields;
}

Descriptor readChecked(const json &root) {
  Descriptor descriptor;
  descriptor.model = root.at("model"), descriptor.target = root.at("target"), descriptor.compiler = root.at("megacc");
  descriptor.hidden = root.at("hidden"), descriptor.vocab = root.at("vocab"), descriptor.sequence = root.at("sequence");
  descriptor.depth = root.at("depth"), descriptor.micro_batch = root.at("micro_batch"), descriptor.accumulate = root.at("accumulate");
  descriptor.precision = root.at("precision"), descriptor.declaration = readDeclaration(root);
  for (int64_t number : {descriptor.hidden, descriptor.vocab, descriptor.sequence, descriptor.micro_batch, descriptor.accumulate})
    if (number < 1)
      refuse("a size of the model is " + std::to_string(number));
  descriptor.seed = uint64_t(root.at("seed").get<int64_t>());
  const json &optimizer = root.at("optimizer");
  descriptor.optimizer = {optimizer.at("lr"),       optimizer.at("beta1"),  optimizer.at("beta2"), optimizer.at("final"),
                          optimizer.at("schedule"), optimizer.at("warmup"), optimizer.at("steps")};
  if (root.at("segments").size() != MG_SEGMENT_COUNT)
    refuse(std::to_string(root.at("segments").size()) + " segments, expected " + std::to_string(MG_SEGMENT_COUNT));
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment)
    descriptor.segments[segment] = root.at("segments").at(segment).at("bytes");
  int64_t ranks = 1;
  for (int axis = 0; axis < MG_AXIS_COUNT; ++axis)
    ranks *= descriptor.mesh[axis] = root.at("mesh").at(axisName(axis));
  for (int64_t size : descriptor.mesh)
    if (size < 1)
      refuse("an axis of its mesh has " + std::to_string(size) + " ranks");
  descriptor.moments = root.value("moments", "fp32");
  if (descriptor.moments != "fp32" && descriptor.moments != "bf16")
    refuse("moments in " + descriptor.moments + ", expected fp32 or bf16");
  descriptor.parameters = readParameters(root.at("parameters"), ranks == 1, descriptor.moments == "bf16" ? MG_BF16 : MG_F32);
  for (const ParameterPlace &parameter : descriptor.parameters)
    checkPieces(parameter, descriptor.mesh), checkSwept(parameter, descriptor.mesh);
  if (descriptor.micro_batch % descriptor.dataRanks())
    refuse("a micro-batch of " + std::to_string(descriptor.micro_batch) + " rows for " + std::to_string(descriptor.dataRanks()) + " ranks");
  for (const json &entry : root.value("interventions", json::array())) {
    std::string kind = entry.at("kind");
    Schedule schedule = {entry.at("at"), entry.at("every"), entry.at("start"), entry.at("stop")};
    descriptor.interventions.push_back({kind, entry.dump(), schedule, kind == "redo", entry.value("direction", "") == "gradient"});
  }
  descriptor.inputs = readPlaces(root.at("inputs"));
  descriptor.metrics = readPlaces(root.at("metrics"));
  descriptor.outputs = readPlaces(root.at("outputs"));
  descriptor.kernels = root.at("kernels").get<std::map<std::string, std::string>>();
  for (const json &entry : root.at("functions")) {
    Function &function = descriptor.functions.emplace_back(Function{entry.at("name"), entry.at("symbol"), {}});
    for (const json &launch : entry.at("launches"))
      function.launches.push_back({launch.at("kernel"), launch.at("path"), launch.at("block"), launch.at("flops"), launch.at("bytes")});
  }
  for (const json &row : root.at("receipt"))
    descriptor.receipt.push_back({row.at("slot"), row.value("letter", ""), row.value("family", ""), row.at("launches")});
  return descriptor;
}

} // namespace

const char *axisName(int axis) { return axis == MG_DP ? "dp" : axis == MG_TP ? "tp" : "ep"; }

const char *typeName(MgType type) {
  switch (type) {
  case MG_F32:
    return "f32";
  case MG_BF16:
    return "bf16";
  case MG_I32:
    return "i32";
  case MG_F64:
    return "f64";
  default:
    return "raw";
  }
}

int64_t typeBytes(MgType type) { return type == MG_F64 || type == MG_I64 ? 8 : type == MG_BF16 ? 2 : 4; }

bool Schedule::isDue(int64_t t) const {
  return std::ranges::find(at, t) != at.end() || (every && t > start && t % every == 0 && (!stop || t <= stop));
}

bool Schedule::isDueWithin(int64_t after, int64_t last) const {
  if (std::ranges::any_of(at, [&](int64_t t) { return t > after && t <= last; }))
    return true;
  int64_t from = std::max(after, start), to = stop ? std::min(stop, last) : last;
  return every && from < to && to / every > from / every;
}

int64_t Place::elements() const { return countElements(shape); }

std::vector<std::vector<std::array<int64_t, 2>>> ParameterPlace::rangesOf(const int64_t (&mesh)[MG_AXIS_COUNT],
                                                                          const int64_t (&ranks)[MG_AXIS_COUNT]) const {
  std::vector<std::vector<std::array<int64_t, 2>>> all;
  for (const auto &dimension : pieces) {
    auto &list = all.emplace_back();
    int64_t begin = 0;
    auto add = [&](int64_t first, int64_t count) {
      if (!list.empty() && list.back()[1] == first)
        list.back()[1] += count;
      else
        list.push_back({first, first + count});
    };
    for (auto [axis, size, block] : dimension) {
      int64_t part = axis < 0 ? block : block / mesh[axis], first = axis < 0 ? 0 : ranks[axis] * part;
      for (int64_t at = begin; at < begin + size; at += block)
        add(at + first, part);
      begin += size;
    }
  }
  return all;
}

std::optional<std::array<int64_t, 2>> ParameterPlace::ownOf(const int64_t (&mesh)[MG_AXIS_COUNT],
                                                            const int64_t (&ranks)[MG_AXIS_COUNT]) const {
  if (!swept)
    return std::nullopt;
  auto [axes, first, count] = *swept;
  int64_t part = 0, parts = 1; // those of a later axis first
  for (int axis = 0; axis < MG_AXIS_COUNT; ++axis)
    if (axes >> axis & 1)
      part = part * mesh[axis] + ranks[axis], parts *= mesh[axis];
  int64_t begin = count / parts * part - first;
  return std::array{begin, begin + count / parts};
}

int64_t ParameterPlace::elements() const {
  if (ranges.empty())
    return countElements(shape);
  int64_t count = 1;
  for (const auto &dimension : ranges) {
    int64_t extent = 0;
    for (auto [begin, end] : dimension)
      extent += end - begin;
    count *= extent;
  }
  return count;
}

std::vector<ElementRun> ParameterPlace::runs() const {
  if (ranges.empty())
    return {{0, 0, elements()}};
  // From the last dimension to the first: the runs of a slice, then of all slices.
  std::vector<ElementRun> runs = {{0, 0, 1}};
  int64_t whole = 1, part = 1; // elements of a slice
  for (size_t d = ranges.size(); d-- > 0;) {
    std::vector<ElementRun> slices;
    int64_t begin = 0;
    auto add = [&](int64_t first, int64_t count) {
      if (!slices.empty() && slices.back().first + slices.back().count == first)
        slices.back().count += count;
      else
        slices.push_back({first, begin, count});
      begin += count;
    };
    for (auto [from, to] : ranges[d]) {
      if (runs.size() == 1 && part == whole)
        add(from * whole, (to - from) * whole);
      else
        for (int64_t index = from; index < to; ++index)
          for (const ElementRun &run : runs)
            add(index * whole + run.first, run.count);
    }
    runs = std::move(slices);
    whole *= shape[d], part = begin;
  }
  return runs;
}

const Place *Descriptor::findInput(std::string_view name) const { return find(inputs, name); }
const Place *Descriptor::findMetric(std::string_view name) const { return find(metrics, name); }
const Place *Descriptor::findOutput(std::string_view name) const { return find(outputs, name); }
const Function *Descriptor::findFunction(std::string_view name) const { return find(functions, name); }

void Descriptor::setRanks(const int64_t (&ranks)[MG_AXIS_COUNT]) {
  for (ParameterPlace &parameter : parameters)
    parameter.own = parameter.ownOf(mesh, ranks);
  for (ParameterPlace &parameter : parameters)
    if (!parameter.pieces.empty())
      parameter.ranges = parameter.rangesOf(mesh, ranks);
}

std::string Descriptor::declarationHash() const {
  Hash hash;
  for (const auto &[field, value] : declaration)
    hash.add(field + "\n" + value + "\n");
  return hash.digits();
}

Descriptor readDescriptor(std::string_view text) {
  json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    refuse("it is not a JSON object");
  int64_t abi = root.value("abi", int64_t(0));
  if (abi != MEGACC_ABI_VERSION)
    throw ArtifactError(
        "it was compiled for ABI version " + std::to_string(abi) + ", this megacc-run has " + std::to_string(MEGACC_ABI_VERSION) +
        "; fix: " + (abi < MEGACC_ABI_VERSION ? "compile the declaration again with this release's megacc" : "use a newer megacc-run"));
  try {
    return readChecked(root);
  } catch (const json::exception &error) {
    refuse(error.what());
  }
}

} // namespace megacc::runtime

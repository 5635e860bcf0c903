#include "runtime/core/Step.h"
#include "megacc/KernelSignatures.h"
#include "runtime/core/Artifact.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/core/Launch.h"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <utility>

namespace megacc::runtime {
namespace {

Descriptor describe(const Artifact &artifact, const std::string &path) {
  try {
    Descriptor about = readDescriptor(artifact.descriptor());
    return about;
  } catch (const ArtifactError &error) {
    throw ArtifactError(path + ": " + error.what());
  }
}

/// The ranks that run the artifact.
Mesh join(const Descriptor &about, const Artifact &artifact, const std::string &path) {
  try {
    return Mesh(about, artifact.hash());
  } catch (const ArtifactError &error) {
    throw ArtifactError(path + ": " + error.what());
  }
}

/// The kernels that the artifact uses and those that the runtime launches.
std::map<std::string, std::string> wantedKernels(const Descriptor &about) {
  std::map<std::string, std::string> wanted = about.kernels;
  for (const KernelSignature &kernel : kernelSignatures)
    if (std::string_view(kernel.symbol) == "mg_initialize")
      wanted[kernel.symbol] = kernel.text;
  return wanted;
}

/// Where the places begin and end in the io segment. Throws ArtifactError for places that no megacc makes.
std::pair<int64_t, int64_t> spanOf(const std::vector<Place> &places, int64_t micro_batches, int64_t size) {
  int64_t begin = size, end = 0;
  for (const Place &place : places) {
    int64_t last = 0;
    if (place.offset < 0 || place.stride < 0 || place.offset % 8 || place.stride % 8 ||
        __builtin_mul_overflow(place.stride, micro_batches - 1, &last) || place.bytes() > size || last > size - place.bytes() ||
        place.offset > size - place.bytes() - last)
      throw ArtifactError("'" + place.name + "' of " + std::to_string(place.bytes()) + " bytes at " + std::to_string(place.offset) +
                          " is not inside the io segment of " + std::to_string(size) +
                          " bytes: the descriptor is damaged; fix: compile the declaration again");
    begin = std::min(begin, place.offset), end = std::max(end, place.offset + last + place.bytes());
  }
  return {std::min(begin, end), end};
}

/// Whether ranks that share an update have only their part of this.
bool isShared(const ParameterPlace &parameter, StatePart part) {
  return parameter.swept && part != StatePart::weight && (part != StatePart::value || parameter.master);
}

/// Runs body(index, begin, count) for what this rank has of elements [first, first + count) of the whole tensor: values[index] on are the
/// elements from `begin` of the rank's part.
template <typename Body> void forEachRun(const ParameterPlace &parameter, StatePart part, int64_t first, int64_t count, Body &&body) {
  for (const ElementRun &run : parameter.runs()) {
    int64_t from = std::max(first, run.first), to = std::min(first + count, run.first + run.count);
    if (isShared(parameter, part) && parameter.own) {
      from = std::max(from, run.first + ((*parameter.own)[0] - run.begin));
      to = std::min(to, run.first + ((*parameter.own)[1] - run.begin));
    }
    if (from < to)
      body(from - first, run.begin + (from - run.first), to - from);
  }
}

/// Elements values[index, index + count).
struct Piece {
  int64_t index, count;
};

/// The same, where the rank's elements follow one another at once: body(begin, count, pieces), [begin, begin + count) of its part are those
/// of the pieces in their order.
template <typename Body> void forEachBlock(const ParameterPlace &parameter, StatePart part, int64_t first, int64_t count, Body &&body) {
  int64_t begin = 0, length = 0;
  std::vector<Piece> pieces;
  forEachRun(parameter, part, first, count, [&](int64_t index, int64_t at, int64_t run) {
    if (!pieces.empty() && at != begin + length) {
      body(begin, length, pieces);
      pieces.clear();
    }
    if (pieces.empty())
      begin = at, length = 0;
    pieces.push_back({index, run});
    length += run;
  });
  if (!pieces.empty())
    body(begin, length, pieces);
}

std::vector<uint16_t> roundAll(std::span<const float> values) {
  std::vector<uint16_t> rounded(values.size());
  std::ranges::transform(values, rounded.begin(), toBfloat16);
  return rounded;
}

} // namespace

Step::Step(const std::string &path) : Step(Artifact(path), path) {}

Step::Step(const Artifact &artifact, const std::string &path)
    : about(describe(artifact, path)), ranks(join(about, artifact, path)), device(about.target, wantedKernels(about)),
      object(artifact.open()) {
  auto find = [&](const std::string &symbol) {
    void *address = dlsym(object.get(), symbol.c_str());
    if (!address)
      throw ArtifactError(path + ": lacks the symbol " + symbol + "; fix: compile the declaration again");
    return address;
  };
  for (const Function &function : about.functions)
    functions.push_back(reinterpret_cast<MgStepFunction>(find(function.symbol)));
  mirrorInputsAndMetrics();
  MgContext &context = device.context();
  std::ranges::copy(ranks.axes(), context.axes);
  int64_t places[MG_AXIS_COUNT];
  ranks.place(ranks.rank(), places);
  about.setRanks(places);
  context.user = this;
  setObserver(nullptr);
  device.reserve(about.segments);
  if (int64_t bytes = about.segments[MG_CONSTANTS])
    device.write(MG_CONSTANTS, 0, {static_cast<const std::byte *>(find("megacc_constants")), size_t(bytes)});
}

void Step::mirrorInputsAndMetrics() {
  int64_t size = about.segments[MG_IO];
  auto [inputs_begin, inputs_end] = spanOf(about.inputs, about.accumulate, size);
  auto [metrics_begin, metrics_end] = spanOf(about.metrics, 1, size);
  auto [outputs_begin, outputs_end] = spanOf(about.outputs, about.accumulate, size);
  if ((!about.metrics.empty() && inputs_end > metrics_begin) ||
      (!about.outputs.empty() && std::max(inputs_end, metrics_end) > outputs_begin))
    throw ArtifactError("the io segment has inputs up to " + std::to_string(inputs_end) + ", metrics from " +
                        std::to_string(metrics_begin) + " to " + std::to_string(metrics_end) + " and outputs from " +
                        std::to_string(outputs_begin) + ", not one after the other; fix: compile the declaration again");
  inputs = {inputs_begin, std::vector<std::byte>(inputs_end - inputs_begin)};
  metrics = {metrics_begin, std::vector<std::byte>(metrics_end - metrics_begin)};
}

void Step::setObserver(LaunchObserver *wanted) {
  observer = wanted;
  device.context().launch = observer ? launchObserved : launchDirectly;
}

int32_t Step::launchDirectly(MgContext *context, MgKernel kernel, const MgLaunch *launch) {
  Step *step = static_cast<Step *>(context->user);
  if (step->ranks.size() == 1)
    return kernel(launch);
  const std::vector<LaunchRecord> &records = step->running->launches;
  step->ranks.watchdog().enter(size_t(launch->call_index) < records.size() ? &records[launch->call_index] : nullptr);
  int32_t status = kernel(launch);
  step->ranks.watchdog().enter(nullptr);
  return status;
}

int32_t Step::launchObserved(MgContext *context, MgKernel kernel, const MgLaunch *launch) {
  Step *step = static_cast<Step *>(context->user);
  const std::vector<LaunchRecord> &records = step->running->launches;
  if (launch->call_index < 0 || size_t(launch->call_index) >= records.size()) {
    step->failure = "call " + std::to_string(launch->call_index) + " of " + step->running->name + " is not among the " +
                    std::to_string(records.size()) + " that the descriptor lists; fix: compile the declaration again";
    return 1;
  }
  try {
    step->ranks.watchdog().enter(&records[launch->call_index]);
    int32_t status = step->observer->launch(records[launch->call_index], kernel, launch);
    step->ranks.watchdog().enter(nullptr);
    return status;
  } catch (const std::exception &error) { // it must not pass through generated code
    step->failure = error.what();
    return 1;
  }
}

void Step::run(std::string_view name, int64_t micro_batch) {
  running = about.findFunction(name);
  if (!running)
    throw ArtifactError("the step has no function '" + std::string(name) + "'; fix: compile the declaration again");
  MgContext &context = device.context();
  context.micro_batch = micro_batch;
  int32_t status = functions[running - about.functions.data()](&context);
  if (!failure.empty())
    throw ArtifactError(std::exchange(failure, ""));
  device.check(status);
}

void Step::replay(std::optional<Device::Captured> &graph, const std::function<void()> &work) {
  if (observer || !device.captures())
    return work();
  if (!graph)
    graph = device.capture(work);
  device.replay(*graph);
}

void Step::runStep() {
  replay(step_graph, [this] {
    for (int64_t m = 0; m < about.accumulate; ++m)
      run("micro_batch", m);
    run("update");
  });
}

void Step::runEvaluation() {
  replay(evaluation_graph, [this] { run("evaluate"); });
}

void Step::runIntervention(size_t number) {
  replay(intervention_graphs[number], [&] { run(interventionName(number)); });
}

void Step::sendInputs() { device.write(MG_IO, inputs.begin, inputs.bytes); }

void Step::fetchMetrics() {
  if (ranks.size() == 1)
    return device.read(MG_IO, metrics.begin, metrics.bytes);
  {
    Watchdog::Wait wait(ranks.watchdog(), "the mesh");
    device.read(MG_IO, metrics.begin, metrics.bytes);
  }
  std::vector<const Place *> flags;
  std::vector<float> mine;
  for (const Place &place : about.metrics)
    if (place.name.starts_with("invalid.") || place.name.starts_with("nonfinite.")) {
      flags.push_back(&place);
      mine.push_back(float(metric(place)));
    }
  std::vector<float> all = ranks.gather(std::span<const float>(mine));
  for (size_t index = 0; index < all.size(); ++index)
    if (float raised = 1; all[index] != 0)
      std::memcpy(metrics.bytes.data() + (flags[index % flags.size()]->offset - metrics.begin), &raised, sizeof raised);
}

double Step::metric(const Place &place, int64_t index) const {
  const std::byte *element = metrics.bytes.data() + (place.offset - metrics.begin) + index * typeBytes(place.type);
  auto as = [&](auto value) {
    std::memcpy(&value, element, sizeof value);
    return value;
  };
  switch (place.type) {
  case MG_F64:
    return as(double());
  case MG_I32:
    return as(int32_t());
  case MG_BF16:
    return fromBfloat16(as(uint16_t()));
  default:
    return as(float());
  }
}

std::vector<float> Step::readFloats(const Range &range, int64_t count) {
  std::vector<float> values(count);
  auto widen = [&](auto element, auto &&convert) {
    std::vector<decltype(element)> elements(count);
    device.read(range.segment, range.offset, std::as_writable_bytes(std::span(elements)));
    std::ranges::transform(elements, values.begin(), convert);
  };
  if (range.type == MG_BF16)
    widen(uint16_t(), fromBfloat16);
  else if (range.type == MG_F64)
    widen(double(), [](double value) { return float(value); });
  else if (range.type == MG_I32)
    widen(int32_t(), [](int32_t value) { return float(value); });
  else
    device.read(range.segment, range.offset, std::as_writable_bytes(std::span(values)));
  return values;
}

std::vector<float> Step::readOutput(const Place &output, int64_t micro_batch) {
  return readFloats({MG_IO, output.offset + micro_batch * output.stride, output.type}, output.elements());
}

Step::Range Step::findRange(const ParameterPlace &parameter, StatePart part) const {
  auto inOptimizer = [&](int64_t offset, MgType type) { // of the part that this rank has, which may begin in another tensor
    return Range{MG_OPTIMIZER, offset - (parameter.own ? (*parameter.own)[0] * typeBytes(type) : 0), type};
  };
  switch (part) {
  case StatePart::gradient:
    return {MG_GRADIENTS, parameter.gradient, MG_F32};
  case StatePart::first_moment:
    return inOptimizer(parameter.first_moment, parameter.moment_type);
  case StatePart::second_moment:
    return inOptimizer(parameter.second_moment.value(), parameter.moment_type);
  case StatePart::value:
    if (parameter.master)
      return inOptimizer(*parameter.master, MG_F32);
    [[fallthrough]];
  case StatePart::weight:
    break;
  }
  return {MG_WEIGHTS, parameter.offset, parameter.type};
}

void Step::readState(const ParameterPlace &parameter, StatePart part, int64_t first, std::span<float> values) {
  Range range = findRange(parameter, part);
  forEachBlock(parameter, part, first, int64_t(values.size()), [&](int64_t begin, int64_t count, std::span<const Piece> pieces) {
    std::vector<float> read = readFloats({range.segment, range.offset + begin * typeBytes(range.type), range.type}, count);
    auto from = read.begin();
    for (const Piece &piece : pieces)
      std::copy_n(from, piece.count, values.begin() + piece.index), from += piece.count;
  });
}

void Step::collectState(const ParameterPlace &parameter, StatePart part, int64_t first, std::span<float> values) {
  readState(parameter, part, first, values);
  if ((parameter.pieces.empty() && !isShared(parameter, part)) || ranks.size() == 1)
    return;
  // Every rank gives what it has of them, filled up to as many elements as the rank with the most.
  int64_t count = int64_t(values.size()), most = 0;
  std::vector<ParameterPlace> places(size_t(ranks.size()), parameter);
  for (int64_t rank = 0; rank < ranks.size(); ++rank) {
    int64_t place[MG_AXIS_COUNT], has = 0;
    ranks.place(rank, place);
    if (!parameter.pieces.empty())
      places[rank].ranges = parameter.rangesOf(about.mesh, place);
    places[rank].own = parameter.ownOf(about.mesh, place);
    forEachRun(places[rank], part, first, count, [&](int64_t, int64_t, int64_t run) { has += run; });
    most = std::max(most, has);
  }
  std::vector<float> mine;
  forEachRun(parameter, part, first, count,
             [&](int64_t index, int64_t, int64_t run) { mine.insert(mine.end(), values.begin() + index, values.begin() + index + run); });
  mine.resize(most);
  std::vector<float> all = ranks.gather(std::span<const float>(mine));
  for (int64_t rank = 0; rank < ranks.size(); ++rank) {
    auto from = all.begin() + rank * most;
    forEachRun(places[rank], part, first, count, [&](int64_t index, int64_t, int64_t run) {
      std::copy_n(from, run, values.begin() + index);
      from += run;
    });
  }
}

std::vector<float> Step::readState(const ParameterPlace &parameter, StatePart part) {
  std::vector<float> values(countElements(parameter.shape));
  collectState(parameter, part, 0, values);
  return values;
}

void Step::writeState(const ParameterPlace &parameter, StatePart part, int64_t first, std::span<const float> values) {
  Range range = findRange(parameter, part);
  forEachBlock(parameter, part, first, int64_t(values.size()), [&](int64_t begin, int64_t, std::span<const Piece> pieces) {
    std::span<const float> written = values.subspan(pieces.front().index, pieces.front().count);
    std::vector<float> joined;
    if (pieces.size() > 1) {
      for (const Piece &piece : pieces)
        joined.insert(joined.end(), values.begin() + piece.index, values.begin() + piece.index + piece.count);
      written = joined;
    }
    int64_t offset = range.offset + begin * typeBytes(range.type);
    if (range.type == MG_BF16)
      device.write(range.segment, offset, std::as_bytes(std::span<const uint16_t>(roundAll(written))));
    else
      device.write(range.segment, offset, std::as_bytes(written));
  });
  if (part == StatePart::value && parameter.master)
    writeState(parameter, StatePart::weight, first, values);
}

void Step::initialize(const ParameterPlace &parameter, int64_t kind, uint64_t key) {
  MgKernel kernel = device.findKernel("mg_initialize");
  int64_t width = typeBytes(parameter.type);
  auto launch = [&](const ElementRun &run, bool has_master) {
    if (run.count <= 0)
      return;
    Device::Operand operands[at_mg_initialize::operand_count];
    int64_t ints[number_mg_initialize::integer_count];
    double doubles[real_mg_initialize::real_count];
    operands[at_mg_initialize::y] = {MG_WEIGHTS, parameter.offset + run.begin * width, run.count * width, parameter.type};
    int64_t offset = has_master ? findRange(parameter, StatePart::value).offset + run.begin * 4 : 0;
    operands[at_mg_initialize::master] = {has_master ? MG_OPTIMIZER : -1, offset, run.count * 4, MG_F32};
    ints[number_mg_initialize::count] = run.count;
    ints[number_mg_initialize::first] = run.first;
    ints[number_mg_initialize::kind] = kind;
    ints[number_mg_initialize::key] = int64_t(key);
    doubles[real_mg_initialize::a] = parameter.init_a;
    device.launch(kernel, operands, ints, doubles);
  };
  for (const ElementRun &run : parameter.runs()) {
    if (!isShared(parameter, StatePart::value)) {
      launch(run, parameter.master.has_value());
      continue;
    }
    // Before, in and behind what this rank has of the masters.
    int64_t end = run.begin + run.count;
    int64_t bounds[] = {run.begin, std::clamp((*parameter.own)[0], run.begin, end), std::clamp((*parameter.own)[1], run.begin, end), end};
    for (int i = 0; i < 3; ++i)
      launch({run.first + (bounds[i] - run.begin), bounds[i], bounds[i + 1] - bounds[i]}, i == 1);
  }
}

void Step::clearState() {
  for (MgSegment segment : {MG_WEIGHTS, MG_OPTIMIZER, MG_GRADIENTS})
    device.fill(segment, 0, about.segments[segment], 0);
}

void Step::poison() {
  for (MgSegment segment : {MG_TEMPORARIES, MG_IO})
    device.fill(segment, 0, about.segments[segment], 0xFF);
  for (const ParameterPlace &parameter : about.parameters)
    if (parameter.trained)
      device.fill(MG_GRADIENTS, parameter.gradient, parameter.elements() * typeBytes(MG_F32), 0xFF);
}

} // namespace megacc::runtime

#include "runtime/core/Device.h"
#include "runtime/core/Descriptor.h"
#include "runtime/core/Processor.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <vector>

namespace megacc::runtime {
namespace {

/// Every architecture of NVIDIA cards is a target of its own; their kernels share a library.
std::string libraryName(const std::string &target) {
  if (target == "cpu") {
    const char *wanted = std::getenv("MEGACC_CPU");
    return cpuLibraryName(detectProcessor(), wanted ? wanted : "");
  }
  return "libmegacc_" + (target.starts_with("sm_") ? "cuda" : target) + ".so";
}

/// The kernel library of a target, which stays open until the program ends.
const MgTarget *openTarget(const std::string &target) {
  if (target.empty() || !std::ranges::all_of(target, [](unsigned char letter) { return std::isalnum(letter) || letter == '_'; }))
    throw ArtifactError("'" + target + "' is not the name of a target; fix: compile the declaration again");
  std::string name = libraryName(target);
  std::error_code error;
  std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / name;
  // Global: the kernels that step.so imports are resolved from it.
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!library)
    throw ArtifactError("the kernels of target " + target + " cannot be opened: " + dlerror() + "; fix: keep " + name +
                        " beside megacc-run");
  auto find = reinterpret_cast<const MgTarget *(*)()>(dlsym(library, "mg_target"));
  if (!find)
    throw ArtifactError(path.string() + ": lacks the function mg_target; fix: use the library of the same release");
  const MgTarget *table = find();
  if (table->abi != MEGACC_ABI_VERSION)
    throw ArtifactError(path.string() + ": was built with ABI version " + std::to_string(table->abi) + ", this megacc-run has " +
                        std::to_string(MEGACC_ABI_VERSION) + "; fix: use the library of the same release");
  return table;
}

const MgKernelEntry *findEntry(const MgTarget *target, const std::string &name) {
  const MgKernelEntry *end = target->kernels + target->kernel_count;
  const MgKernelEntry *entry = std::find_if(target->kernels, end, [&](const MgKernelEntry &kernel) { return kernel.name == name; });
  return entry == end ? nullptr : entry;
}

} // namespace

Device::Device(const std::string &name, const std::map<std::string, std::string> &signatures) : target(openTarget(name)) {
  std::string mistakes;
  for (const auto &[kernel, signature] : signatures)
    if (const MgKernelEntry *entry = findEntry(target, kernel); !entry || entry->signature != signature)
      mistakes += (mistakes.empty() ? "" : ", ") + kernel;
  if (!mistakes.empty())
    throw ArtifactError("the step was compiled for other kernels than " + libraryName(name) + " has (" + mistakes +
                        "); fix: compile the declaration again with the megacc of the same release");
}

Device::~Device() {
  if (opened)
    target->close(&about);
  if (reserved)
    target->release(about.segments);
}

void Device::reserve(const int64_t (&planned)[MG_SEGMENT_COUNT]) {
  check(target->reserve(planned, about.segments));
  reserved = true;
  std::ranges::copy(planned, sizes);
  check(target->open(&about));
  opened = true;
}

std::optional<int64_t> Device::bytesInUse() const {
  if (!target->bytes_in_use)
    return {};
  int64_t bytes = 0;
  check(target->bytes_in_use(&bytes));
  return bytes;
}

void Device::check(int32_t status) const {
  if (status != 0)
    throw std::runtime_error(target->last_error());
}

void *Device::locate(int segment, int64_t offset, int64_t bytes) const {
  if (offset < 0 || bytes < 0 || bytes > sizes[segment] || offset > sizes[segment] - bytes)
    throw std::runtime_error(std::to_string(bytes) + " bytes at " + std::to_string(offset) + " are not inside segment " +
                             std::to_string(segment) + " of " + std::to_string(sizes[segment]) +
                             " bytes: the step's descriptor is damaged; fix: compile the declaration again");
  return reinterpret_cast<void *>(reinterpret_cast<uintptr_t>(about.segments[segment]) + uintptr_t(offset));
}

void Device::write(int segment, int64_t offset, std::span<const std::byte> bytes) {
  check(target->write(&about, locate(segment, offset, int64_t(bytes.size())), bytes.data(), int64_t(bytes.size())));
}

void Device::read(int segment, int64_t offset, std::span<std::byte> bytes) {
  check(target->read(&about, bytes.data(), locate(segment, offset, int64_t(bytes.size())), int64_t(bytes.size())));
}

void Device::fill(int segment, int64_t offset, int64_t bytes, int byte) {
  check(target->fill(&about, locate(segment, offset, bytes), byte, bytes));
}

Device::Mark Device::mark() {
  void *mark = nullptr;
  int32_t status = target->mark(&about, MG_COMPUTE, &mark);
  Mark owned(mark, target->unmark);
  check(status);
  return owned;
}

double Device::elapsed(const Mark &begin, const Mark &end) const {
  double seconds = 0;
  check(target->elapsed(begin.get(), end.get(), &seconds));
  return seconds;
}

void Device::annotate(const char *name) const {
  if (target->annotate)
    target->annotate(name);
}

Device::Captured Device::capture(const std::function<void()> &work) {
  void *captured = nullptr;
  check(target->begin_capture(&about));
  try {
    work();
  } catch (...) {
    if (target->end_capture(&about, &captured) == 0)
      target->discard(captured);
    throw;
  }
  check(target->end_capture(&about, &captured));
  return {captured, target->discard};
}

MgKernel Device::findKernel(const std::string &name) const {
  const MgKernelEntry *entry = findEntry(target, name);
  return entry ? entry->function : nullptr;
}

void Device::launch(MgKernel kernel, std::span<const Operand> operands, std::span<const int64_t> ints, std::span<const double> doubles) {
  std::vector<void *> addresses;
  std::vector<int64_t> bytes;
  std::vector<uint8_t> types;
  for (const Operand &operand : operands) {
    bool absent = operand.segment < 0;
    addresses.push_back(absent ? nullptr : locate(operand.segment, operand.offset, operand.bytes));
    bytes.push_back(absent ? 0 : operand.bytes);
    types.push_back(absent ? MG_ABSENT : operand.type);
  }
  MgLaunch launch = {.operands = addresses.data(),
                     .bytes = bytes.data(),
                     .types = types.data(),
                     .operand_count = int64_t(operands.size()),
                     .ints = ints.data(),
                     .int_count = int64_t(ints.size()),
                     .doubles = doubles.data(),
                     .double_count = int64_t(doubles.size()),
                     .micro_batch = 0,
                     .call_index = 0,
                     .stream = MG_COMPUTE,
                     .context = &about};
  check(kernel(&launch));
}

} // namespace megacc::runtime

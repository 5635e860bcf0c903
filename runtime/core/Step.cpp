#include "runtime/core/Step.h"

#include <dlfcn.h>
#include <filesystem>
#include <map>

namespace megacc::runtime {
namespace {

/// The kernel library of a target: beside the program, else wherever the loader finds it.
void *openKernels(const std::string &target) {
  std::string name = "libmegacc_" + target + ".so";
  std::error_code error;
  std::filesystem::path beside = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / name;
  void *library = std::filesystem::exists(beside, error) ? dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL)
                                                         : dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!library)
    throw ArtifactError("the kernels of target " + target + " cannot be opened: " + dlerror() + "; fix: keep " + name +
                        " beside megacc-run, or set LD_LIBRARY_PATH");
  return library;
}

template <typename Function> void find(void *library, const char *name, Function &function, const std::string &path) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function)
    throw ArtifactError(path + ": lacks the function " + name + "; fix: compile the declaration again");
}

/// The kernels must take what the step was compiled to give them.
void checkKernels(const Descriptor &about) {
  static const std::map<std::string, std::string> known = {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) {#symbol, operands " | " ints " | " doubles},
#include "megacc/kernels.def"
#undef MEGACC_KERNEL
  };
  std::string mistakes;
  for (const auto &[name, signature] : about.kernels)
    if (auto found = known.find(name); found == known.end() || found->second != signature)
      mistakes += (mistakes.empty() ? "" : ", ") + name;
  if (!mistakes.empty())
    throw ArtifactError("it was compiled for other kernels than this megacc-run has (" + mistakes + "); fix: compile the declaration again");
}

} // namespace

Step::Step(const std::string &path) {
  std::string text = readArtifact(path);
  try {
    about = readDescriptor(text);
    checkKernels(about);
  } catch (const ArtifactError &error) {
    throw ArtifactError(path + ": " + error.what());
  }
  library = openKernels(about.target);
  std::string full = std::filesystem::absolute(path); // without a slash dlopen would search elsewhere
  object = dlopen(full.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!object)
    throw ArtifactError(path + ": cannot be opened: " + dlerror() + "; fix: use the kernel library of the same release");
  find(object, "megacc_micro_batch", micro_batch_function, path);
  find(object, "megacc_update", update_function, path);
  find(object, "megacc_evaluate", evaluate_function, path);
  find(library, "mg_last_error", last_error, "the kernel library");
  memory = std::make_unique<Arena>(about.segments);
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment)
    context.segments[segment] = memory->segment(segment);
  context.user = this;
  setObserver(nullptr);
}

Step::~Step() {
  if (object)
    dlclose(object);
}

MgKernel Step::findKernel(const std::string &name) const { return reinterpret_cast<MgKernel>(dlsym(library, name.c_str())); }

void Step::setThreads(int count) {
  void (*set)(int32_t) = nullptr;
  find(library, "mg_cpu_set_threads", set, "the kernel library");
  set(count);
}

std::string Step::kernelVariant() const {
  const char *(*variant)() = nullptr;
  find(library, "mg_kernel_variant", variant, "the kernel library");
  return about.target + " " + variant();
}

void Step::setObserver(LaunchObserver *wanted) {
  observer = wanted;
  context.launch = observer ? launchObserved : launchDirectly;
}

int32_t Step::launchDirectly(MgContext *, MgKernel kernel, const MgLaunch *launch) { return kernel(launch); }

int32_t Step::launchObserved(MgContext *context, MgKernel kernel, const MgLaunch *launch) {
  Step *step = static_cast<Step *>(context->user);
  const std::vector<LaunchRecord> &records = *step->records;
  if (launch->call_index < 0 || size_t(launch->call_index) >= records.size())
    return 1;
  return step->observer->launch(records[launch->call_index], kernel, launch);
}

void Step::run(MgStepFunction function, const char *name, int64_t micro_batch) {
  context.micro_batch = micro_batch;
  if (observer)
    records = &about.functions.at(name);
  if (function(&context) != 0)
    throw std::runtime_error(last_error());
}

} // namespace megacc::runtime

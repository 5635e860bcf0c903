// megacc: the driver. Reads one declaration, runs the pipeline as far as asked and writes what it gave.
#include "dialects/Mega/Stack.h"
#include "lib/Plan/Plan.h"
#include "lib/Target/Artifact.h"
#include "lib/Target/Object.h"
#include "passes/Pipelines.h"

#include "CLI/CLI.hpp"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Support/Timing.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

namespace {

/// What --emit takes, in the order of the pipeline. "stack" and "plan" are reports; they are not passed through.
enum Level { kMega, kStack, kPlan, kStep, kRt, kLLVM, kObj, kSo };

struct Options {
  std::string input, output;
  Level emit = kSo;
  int64_t micro_batch = 0, accumulate = 0; // 0: as declared
  std::string precision, psiv_cache;       // empty: as declared
  bool documents = false;
  megacc::StepOptions step;
};

using Pipeline = llvm::function_ref<void(OpPassManager &)>;

LogicalResult runPipeline(ModuleOp module, Pipeline build) {
  PassManager passes(module.getContext());
  if (failed(applyPassManagerCLOptions(passes)))
    return failure();
  applyDefaultTimingPassManagerCLOptions(passes);
  passes.enableVerifier(false); // once at the end, not after every pass; megacc-opt does after every pass
  build(passes);
  return success(succeeded(passes.run(module)) && succeeded(verify(module)));
}

/// The launches of one model, or null where part of it cannot be lowered yet. The reasons are those a compile would give.
OwningOpRef<ModuleOp> tryLower(ModuleOp module, const Options &options, llvm::StringRef model, std::vector<std::string> &reasons) {
  OwningOpRef<ModuleOp> copy = module.clone();
  ScopedDiagnosticHandler collect(module.getContext(), [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      reasons.push_back(diagnostic.str());
  });
  megacc::StepOptions step = options.step;
  step.model = model.str();
  LogicalResult lowered = runPipeline(*copy, [&](OpPassManager &passes) {
    megacc::buildTrainPipeline(passes, step);
    megacc::buildLaunchPipeline(passes, options.step);
  });
  return succeeded(lowered) ? std::move(copy) : OwningOpRef<ModuleOp>();
}

/// Fails where --model names no model of the file.
LogicalResult printReports(ModuleOp module, const Options &options, llvm::raw_ostream &os) {
  bool isFound = options.step.model.empty();
  std::string names;
  for (const megacc::mega::Model &model : megacc::mega::readStacks(module)) {
    names += (names.empty() ? "@" : ", @") + model.name;
    if (!options.step.model.empty() && options.step.model != model.name)
      continue;
    isFound = true;
    if (options.emit == kStack) {
      megacc::printStack(model, os);
      continue;
    }
    std::vector<std::string> reasons;
    OwningOpRef<ModuleOp> launches = tryLower(module, options, model.name, reasons);
    megacc::printPlan(model, launches ? *launches : ModuleOp(), os);
    for (const std::string &reason : reasons)
      os << "not planned: " << reason << "\n";
  }
  if (!isFound)
    llvm::errs() << "error: --model " << options.step.model << ": " << options.input << " declares " << names << "\n";
  return success(isFound);
}

/// What the command line changes in the declaration stands in it before the first pass, so every dump shows it.
void applyOverrides(ModuleOp module, const Options &options) {
  Builder builder(module.getContext());
  auto set = [&](StringRef key, Attribute value) { megacc::mega::setTrainKey(module, options.step.model, key, value); };
  if (options.micro_batch)
    set("micro_batch", builder.getI64IntegerAttr(options.micro_batch));
  if (options.accumulate)
    set("accumulate", builder.getI64IntegerAttr(options.accumulate));
  if (!options.precision.empty())
    set("precision", megacc::mega::KindAttr::get(module.getContext(), options.precision, {}));
  if (!options.psiv_cache.empty())
    set("psiv_cache", megacc::mega::KindAttr::get(module.getContext(), options.psiv_cache, {}));
  if (options.documents)
    set("documents", builder.getBoolAttr(true));
}

/// Runs the pipeline up to what is asked for; the bytes to write.
FailureOr<SmallVector<char>> compile(ModuleOp module, const Options &options) {
  SmallVector<char> bytes;
  llvm::raw_svector_ostream os(bytes);
  if (failed(runPipeline(module, options.emit == kMega ? megacc::buildCheckPipeline : megacc::buildModelPipeline)))
    return failure();
  if (options.emit == kStack || options.emit == kPlan) {
    if (failed(printReports(module, options, os)))
      return failure();
    return bytes;
  }
  LogicalResult lowered = runPipeline(module, [&](OpPassManager &passes) {
    if (options.emit >= kStep)
      megacc::buildTrainPipeline(passes, options.step);
    if (options.emit >= kRt)
      megacc::buildLaunchPipeline(passes, options.step);
    if (options.emit >= kLLVM)
      megacc::buildCodePipeline(passes);
  });
  if (failed(lowered))
    return failure();
  if (options.emit <= kRt) {
    module.print(os);
    os << "\n";
    return bytes;
  }
  if (options.emit == kLLVM) {
    llvm::LLVMContext context;
    std::unique_ptr<llvm::Module> translated = megacc::translateToLLVM(module, context);
    if (!translated)
      return failure();
    translated->print(os, nullptr);
    return bytes;
  }
  FailureOr<SmallVector<char>> object = megacc::emitObject(module);
  if (failed(object) || options.emit == kObj)
    return object;
  llvm::Expected<SmallVector<char>> linked = megacc::linkStep(*object);
  if (!linked) {
    llvm::errs() << "error: " << toString(linked.takeError()) << "\n";
    return failure();
  }
  return std::move(*linked);
}

/// Beside nothing: named after the input, in the current folder; texts go to the standard output.
std::string getDefaultOutput(const Options &options) {
  if (options.emit < kObj)
    return "-";
  return (llvm::sys::path::stem(options.input) + (options.emit == kObj ? ".o" : ".so")).str();
}

int run(Options options) {
  MLIRContext context;
  context.getOrLoadDialect<megacc::mega::MegaDialect>();
  context.printOpOnDiagnostic(false);
  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(options.input, &message);
  if (!buffer) {
    llvm::errs() << "error: " << message << "\n";
    return 1;
  }
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(sources, &context);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module)
    return 1;
  applyOverrides(*module, options);
  FailureOr<SmallVector<char>> bytes = compile(*module, options);
  if (failed(bytes))
    return 1;
  if (options.output.empty())
    options.output = getDefaultOutput(options);
  if (options.output == "-") {
    llvm::outs() << StringRef(bytes->data(), bytes->size());
    return 0;
  }
  if (llvm::Error error = megacc::writeFile(options.output, *bytes, /*isExecutable=*/options.emit == kSo)) {
    llvm::errs() << "error: cannot write " << options.output << ": " << toString(std::move(error)) << "\n";
    return 1;
  }
  return 0;
}

/// MLIR's own flags (--mlir-print-ir-after-all and the like) are LLVM options. False after an error.
bool readMlirFlags(const std::vector<std::string> &flags) {
  megacc::registerPassesAndPipelines(); // flags name passes
  registerAsmPrinterCLOptions();
  registerMLIRContextCLOptions();
  registerPassManagerCLOptions();
  registerDefaultTimingManagerCLOptions();
  std::vector<const char *> arguments = {"megacc"};
  for (const std::string &flag : flags) {
    if (!StringRef(flag).ltrim('-').starts_with("mlir-")) {
      llvm::errs() << "error: unknown argument '" << flag << "'; megacc --help lists all\n";
      return false;
    }
    arguments.push_back(flag.c_str());
  }
  return llvm::cl::ParseCommandLineOptions(arguments.size(), arguments.data(), "", &llvm::errs());
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("megacc: compiles the declaration of a hybrid language model into its training step", "megacc");
  Options options;
  std::string taps, emit = "so";
  const std::vector<std::string> levels = {"mega", "stack", "plan", "step", "rt", "llvm", "obj", "so"}; // as Level has them
  app.add_option("FILE", options.input, "the declaration, an .mlir file")->required();
  app.add_option("-o", options.output, "where to write (FILE's name with .so; texts: the standard output)")->group("Output");
  app.add_option("--emit", emit, "mega, stack, plan: what is declared; step, rt, llvm: how it is lowered; obj, so (so)")
      ->check(CLI::IsMember(levels).description("LEVEL"))
      ->group("Output");
  app.add_option("--target", options.step.target, "where the step runs: cpu or sm_90a")
      ->check(CLI::IsMember({"cpu", "sm_90a"}))
      ->group("Step");
  app.add_option("--model", options.step.model, "the model to compile, where FILE declares several")->group("Step");
  app.add_option("--micro-batch", options.micro_batch, "rows of a micro-batch (as declared)")->check(CLI::PositiveNumber)->group("Step");
  app.add_option("--accumulate", options.accumulate, "micro-batches of a step (as declared)")->check(CLI::PositiveNumber)->group("Step");
  app.add_option("--precision", options.precision, "fp32 or bf16 (as declared)")->check(CLI::IsMember({"fp32", "bf16"}))->group("Step");
  app.add_option("--psiv-cache", options.psiv_cache,
                 "Mamba-3: keep x * mimo_x for the backward: off, auto or on (as declared; on where CPPMEGA_MAMBA3_P2_PSIV_CACHE is 1)")
      ->check(CLI::IsMember({"off", "auto", "on"}))
      ->group("Step");
  app.add_option("--recompute", options.step.recompute,
                 "what the backward computes again: none; full: all inside the blocks; or names of ops, [LETTER:]GLOB,... (none)")
      ->group("Step");
  app.add_flag("--documents", options.documents, "the step takes document ids")->group("Step");
  app.add_option("--taps", taps, "hidden: also output the residual stream after every block")
      ->check(CLI::IsMember({"hidden"}))
      ->group("Debugging");
  app.footer(
      "MLIR's flags work too: --mlir-print-ir-after-all, --mlir-print-ir-tree-dir=DIR, --mlir-timing, --mlir-disable-threading, ...");
  app.set_version_flag("--version", "megacc " MEGACC_VERSION);
  app.allow_extras();
  CLI11_PARSE(app, argc, argv);
  options.emit = Level(llvm::find(levels, emit) - levels.begin());
  options.step.taps = !taps.empty();
  const char *gate = std::getenv("CPPMEGA_MAMBA3_P2_PSIV_CACHE");
  if (gate && options.psiv_cache.empty() && llvm::is_contained({"1", "true", "True"}, StringRef(gate)))
    options.psiv_cache = "on";
  if (!readMlirFlags(app.remaining()))
    return 1;
  return run(std::move(options));
}

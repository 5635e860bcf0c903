// megacc: the driver. Reads one declaration, runs the pipeline as far as asked and writes what it gave.
#include "dialects/Interfaces/Sharding.h"
#include "dialects/Mega/Stack.h"
#include "lib/Plan/Plan.h"
#include "lib/Target/Artifact.h"
#include "lib/Target/Object.h"
#include "passes/Pipelines.h"
#include "tools/cli/Documents.h"
#include "tools/cli/Version.h"
#include "tools/megacc/Changes.h"
#include "tools/megacc/Diff.h"
#include "tools/megacc/Inspect.h"

#include "CLI/CLI.hpp"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Support/Timing.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/SourceMgr.h"

#include <new>
#include <unistd.h>

using namespace mlir;

namespace {

/// What --emit takes, in the order of the pipeline. "stack" and "plan" are reports; they are not passed through.
enum Level { kMega, kStack, kPlan, kStep, kRt, kLLVM, kObj, kSo };

struct Options {
  std::string input, output;
  Level emit = kSo;
  int64_t micro_batch = 0, accumulate = 0;   // 0: as declared
  std::string precision, psiv_cache, memory; // empty: as declared
  std::vector<std::string> mesh;             // "dp=2"; empty: as declared
  bool documents = false, sequence_parallel = false, json = false, details = false;
  std::string decisions, report; // files; empty: none
  megacc::StepOptions step;

  bool hasLaunches() const { return emit == kPlan || emit >= kRt; }
  bool writesAside() const { return !decisions.empty() || !report.empty(); }
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

/// The training step of one model, or null where part of it cannot be lowered yet. The reasons are those a compile would give.
OwningOpRef<ModuleOp> tryTrain(ModuleOp module, const Options &options, llvm::StringRef model, std::vector<std::string> &reasons) {
  OwningOpRef<ModuleOp> copy = module.clone();
  ScopedDiagnosticHandler collect(module.getContext(), [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      reasons.push_back(diagnostic.str());
  });
  megacc::StepOptions step = options.step;
  step.model = model.str();
  LogicalResult lowered = runPipeline(*copy, [&](OpPassManager &passes) { megacc::buildTrainPipeline(passes, step); });
  return succeeded(lowered) ? std::move(copy) : OwningOpRef<ModuleOp>();
}

/// The models that --model leaves, of a module of stacks.
std::vector<megacc::mega::Model> readModels(ModuleOp module, const Options &options) {
  std::vector<megacc::mega::Model> models = megacc::mega::readStacks(module);
  llvm::erase_if(models, [&](const auto &model) { return !options.step.model.empty() && options.step.model != model.name; });
  return models;
}

/// Files beside the output that tell of a plan.
void addAside(const megacc::Plan &plan, const Options &options, std::vector<megacc::OutputFile> &files) {
  if (!options.decisions.empty())
    files.push_back({options.decisions, megacc::makeDecisionsJson(plan)});
  if (!options.report.empty())
    files.push_back({options.report, megacc::makeReport(plan)});
}

/// Where lowering failed for want of memory: what would do. `stacks` is the module before it.
void explainFailure(ModuleOp failed, ModuleOp stacks, const megacc::mega::Model &model, const Options &options,
                    const megacc::Costs &costs) {
  auto needed = failed->getAttrOfType<IntegerAttr>(megacc::kNeededAttr);
  if (!needed)
    return;
  auto lower = [&](ModuleOp module, llvm::StringRef recompute) {
    megacc::StepOptions step = options.step;
    step.model = model.name, step.recompute = recompute.str(), step.remarks = false;
    return runPipeline(module, [&](OpPassManager &passes) {
      megacc::buildTrainPipeline(passes, step);
      megacc::buildLaunchPipeline(passes, step);
    });
  };
  llvm::errs() << options.input << ": ";
  megacc::adviseChanges(stacks, model, needed.getInt(), options.step.recompute, costs, lower, llvm::errs());
}

/// What --emit=stack and --emit=plan print. A mistake in what is asked of the planner is an error; what cannot be lowered yet is said.
LogicalResult printReports(ModuleOp module, const Options &options, const megacc::Costs &costs, llvm::raw_ostream &os,
                           std::vector<megacc::OutputFile> &aside) {
  for (const megacc::mega::Model &model : readModels(module, options)) {
    if (options.emit == kStack) {
      megacc::printStack(model, os);
      continue;
    }
    std::vector<std::string> reasons;
    OwningOpRef<ModuleOp> launches = tryTrain(module, options, model.name, reasons);
    megacc::StepOptions step = options.step;
    step.explain = options.json || !options.report.empty() || step.pareto || (model.train && model.train->memory_bytes);
    if (launches && failed(runPipeline(*launches, [&](OpPassManager &passes) { megacc::buildLaunchPipeline(passes, step); }))) {
      explainFailure(*launches, module, model, options, costs);
      return failure();
    }
    megacc::Plan plan = megacc::gatherPlan(model, launches ? *launches : ModuleOp(), costs, std::move(reasons));
    if (options.json)
      os << megacc::makePlanJson(plan);
    else
      megacc::printPlan(plan, options.details, os);
    addAside(plan, options, aside);
  }
  return success();
}

/// One plan is told of in one file.
LogicalResult checkSingleModel(ModuleOp module, const Options &options) {
  size_t models = readModels(module, options).size();
  bool is_single = options.json || options.writesAside();
  if (!is_single || models == 1)
    return success();
  llvm::errs() << "error: --json, --decisions and --report tell of one model, " << options.input << " declares " << models
               << "; fix: name one with --model\n";
  return failure();
}

/// Fails where the file has no model of the name that --model gives.
LogicalResult checkModel(ModuleOp module, const Options &options) {
  SmallVector<std::string> names;
  for (auto model : module.getOps<megacc::mega::ModelOp>())
    names.push_back("@" + model.getSymbol().str());
  if (options.step.model.empty() || llvm::is_contained(names, "@" + options.step.model))
    return success();
  llvm::errs() << "error: --model " << options.step.model << ": " << options.input << " declares "
               << (names.empty() ? "no model" : llvm::join(names, ", ")) << "\n";
  return failure();
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
  if (!options.mesh.empty()) {
    SmallVector<NamedAttribute> axes;
    for (StringRef axis : options.mesh)
      axes.push_back(builder.getNamedAttr(axis.split('=').first, builder.getI64IntegerAttr(std::stoll(axis.split('=').second.str()))));
    set("mesh", megacc::mega::KindAttr::get(module.getContext(), "", axes));
  }
  if (!options.memory.empty())
    set("memory", builder.getStringAttr(options.memory));
  if (options.documents)
    set("documents", builder.getBoolAttr(true));
  if (options.sequence_parallel)
    set("sequence_parallel", builder.getBoolAttr(true));
}

/// Runs the pipeline up to what is asked for; the bytes to write, and the files beside them.
FailureOr<SmallVector<char>> compile(ModuleOp module, const Options &options, std::vector<megacc::OutputFile> &aside) {
  SmallVector<char> bytes;
  llvm::raw_svector_ostream os(bytes);
  if (failed(runPipeline(module, options.emit == kMega ? megacc::buildCheckPipeline : megacc::buildModelPipeline)) ||
      failed(checkSingleModel(module, options)))
    return failure();
  llvm::Expected<megacc::Costs> costs = megacc::Costs::read(options.hasLaunches() ? options.step.costs : "", options.step.target);
  if (!costs) {
    llvm::errs() << "error: " << toString(costs.takeError()) << "\n";
    return failure();
  }
  if (options.emit == kStack || options.emit == kPlan) {
    if (failed(printReports(module, options, *costs, os, aside)))
      return failure();
    return bytes;
  }
  std::vector<megacc::mega::Model> models = readModels(module, options);
  megacc::StepOptions step = options.step;
  step.explain = !options.report.empty();
  bool has_budget = options.emit >= kRt && models.size() == 1 && models.front().train && models.front().train->memory_bytes;
  OwningOpRef<ModuleOp> stacks = has_budget ? module.clone() : OwningOpRef<ModuleOp>();
  LogicalResult lowered = runPipeline(module, [&](OpPassManager &passes) {
    if (options.emit >= kStep)
      megacc::buildTrainPipeline(passes, step);
    if (options.emit >= kRt)
      megacc::buildLaunchPipeline(passes, step);
  });
  if (failed(lowered)) {
    if (stacks)
      explainFailure(module, *stacks, models.front(), options, *costs);
    return failure();
  }
  if (options.writesAside())
    addAside(megacc::gatherPlan(models.front(), module, *costs, {}), options, aside);
  module->removeAttr(megacc::kMemoryAttr); // the time that planning took is no part of the launches
  if (options.emit >= kLLVM && failed(runPipeline(module, megacc::buildCodePipeline)))
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

/// Reads the declaration without a byte-order mark; null after an error.
std::unique_ptr<llvm::MemoryBuffer> readDeclaration(const std::string &path) {
  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(path, &message);
  if (!buffer) {
    llvm::errs() << "error: " << message;
    if (llvm::sys::path::stem(path).equals_insensitive("nam52")) // people look for it beside nam56r
      llvm::errs() << "; no recipe of NAM52 is public: its widths, experts and states are missing; fix: models/nam56r.mlir, or declare one";
    llvm::errs() << "\n";
    return nullptr;
  }
  StringRef text = buffer->getBuffer();
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    llvm::errs() << path << ":1:1: error: the text is UTF-16; fix: save it as UTF-8\n";
    return nullptr;
  }
  if (text.consume_front("\xEF\xBB\xBF"))
    return llvm::MemoryBuffer::getMemBufferCopy(text, buffer->getBufferIdentifier());
  return buffer;
}

/// MLIR's parser calls itself for every bracket inside another; 20,000 of them would overflow the stack.
LogicalResult checkBrackets(const llvm::SourceMgr &sources) {
  constexpr int most = 256;
  int depth = 0;
  StringRef text = sources.getMemoryBuffer(sources.getMainFileID())->getBuffer();
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '"') { // to its end or that of the line
      for (++at; at < text.size() && text[at] != '"' && text[at] != '\n'; ++at)
        at += text[at] == '\\';
    } else if (text.substr(at).starts_with("//")) {
      at = std::min(text.find('\n', at), text.size());
    } else if (StringRef("([{<").contains(c)) {
      if (++depth <= most)
        continue;
      sources.PrintMessage(llvm::SMLoc::getFromPointer(text.data() + at), llvm::SourceMgr::DK_Error,
                           "more than " + llvm::Twine(most) + " brackets inside each other; fix: close them");
      return failure();
    } else if (StringRef(")]}>").contains(c) && depth > 0) {
      --depth;
    }
  }
  return success();
}

/// A message of no line of the declaration is one of the file; SourceMgrDiagnosticHandler would show it at <unknown>:0.
LogicalResult printWithoutLine(const Diagnostic &diagnostic, const std::string &input) {
  auto line = diagnostic.getLocation()->findInstanceOf<FileLineColLoc>();
  if (line && line.getLine())
    return failure(); // the next handler's
  const char *kinds[] = {"note", "warning", "error", "remark"};
  llvm::errs() << input << ": " << kinds[int(diagnostic.getSeverity())] << ": " << diagnostic << "\n";
  for (const Diagnostic &note : diagnostic.getNotes())
    llvm::errs() << input << ": note: " << note << "\n";
  return success();
}

int run(Options options) {
  MLIRContext context;
  context.getOrLoadDialect<megacc::mega::MegaDialect>();
  context.printOpOnDiagnostic(false);
  std::unique_ptr<llvm::MemoryBuffer> buffer = readDeclaration(options.input);
  if (!buffer)
    return 1;
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  if (failed(checkBrackets(sources)))
    return 1;
  SourceMgrDiagnosticHandler handler(sources, &context);
  ScopedDiagnosticHandler withoutLine(&context, [&](Diagnostic &diagnostic) { return printWithoutLine(diagnostic, options.input); });
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module || failed(checkModel(*module, options)))
    return 1;
  applyOverrides(*module, options);
  std::vector<megacc::OutputFile> files;
  FailureOr<SmallVector<char>> bytes = compile(*module, options, files);
  if (failed(bytes))
    return 1;
  if (options.output.empty())
    options.output = getDefaultOutput(options);
  files.push_back({options.output, {bytes->data(), bytes->size()}, /*isExecutable=*/options.emit == kSo});
  if (llvm::Error error = megacc::writeFiles(files)) {
    llvm::errs() << "error: " << toString(std::move(error)) << "\n";
    return 1;
  }
  return 0;
}

/// An axis of --mesh: "dp=2".
std::string checkAxis(const std::string &text) {
  auto [name, count] = StringRef(text).split('=');
  int64_t ranks;
  if (text == "zero=0" || text == "zero=1")
    return "";
  if (megacc::findAxis(name) && !count.getAsInteger(10, ranks) && ranks >= 1 && ranks <= megacc::mega::largestSize)
    return "";
  return text + " is not dp=N, tp=N or ep=N with N from 1 to " + std::to_string(megacc::mega::largestSize) + ", or zero=0 or zero=1";
}

/// Where memory or threads end. What allocates has no way to report it: the process ends with one message.
[[noreturn]] void endWithoutMemory() {
  static const char message[] =
      "error: out of memory, or of the threads that the system allows; fix: a smaller declaration, or a larger limit "
      "(ulimit -v, ulimit -u)\n";
  (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
  llvm::sys::RunInterruptHandlers(); // removes the files being written
  _exit(1);
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

/// Flags that ask of a level what it does not have, all of them. False after an error.
bool checkFlags(const Options &options) {
  bool isGood = true;
  auto need = [&](bool isGiven, const char *flag, bool isThere, const char *levels) {
    if (isGiven && !isThere)
      llvm::errs() << "error: " << flag << " needs --emit=" << levels << "\n";
    isGood &= !isGiven || isThere;
  };
  need(options.json, "--json", options.emit == kPlan, "plan");
  need(options.details, "--details", options.emit == kPlan, "plan");
  need(options.step.pareto, "--pareto", options.emit == kPlan || (!options.report.empty() && options.hasLaunches()), "plan, or --report");
  need(!options.decisions.empty(), "--decisions", options.hasLaunches(), "plan, rt, llvm, obj or so");
  need(!options.report.empty(), "--report", options.hasLaunches(), "plan, rt, llvm, obj or so");
  need(options.step.remarks, "--remarks", options.hasLaunches(), "plan, rt, llvm, obj or so");
  llvm::StringMap<const char *> files;
  for (auto [flag, path] :
       {std::pair("-o", &options.output), std::pair("--decisions", &options.decisions), std::pair("--report", &options.report)})
    if (auto [known, isNew] = files.try_emplace(*path, flag); !path->empty() && !isNew) {
      llvm::errs() << "error: " << known->second << " and " << flag << " both write " << *path << "; fix: give each a file\n";
      isGood = false;
    }
  return isGood;
}

} // namespace

int main(int argc, char **argv) {
  std::set_new_handler(endWithoutMemory);
  std::set_terminate(endWithoutMemory);                                    // nothing here throws but a thread that cannot be started
  llvm::install_fatal_error_handler([](void *, const char *reason, bool) { // LLVM's own thread that cannot be started is one
    llvm::errs() << "error: " << reason << "\n";
    endWithoutMemory();
  });
  llvm::install_bad_alloc_error_handler([](void *, const char *, bool) { endWithoutMemory(); });
  CLI::App app("megacc: compiles the declaration of a hybrid language model into its training step", "megacc");
  Options options;
  std::string taps, emit = "so";
  const std::vector<std::string> levels = {"mega", "stack", "plan", "step", "rt", "llvm", "obj", "so"}; // as Level has them
  const CLI::Range count(int64_t(1), megacc::mega::largestSize);
  CLI::Option *file = app.add_option("FILE", options.input, "the declaration, an .mlir file");
  app.add_option("-o", options.output, "where to write (FILE's name with .so; texts: the standard output)")->group("Output");
  app.add_option("--emit", emit, "mega, stack, plan: what is declared; step, rt, llvm: how it is lowered; obj, so (so)")
      ->check(CLI::IsMember(levels))
      ->group("Output");
  CLI::Option *json = app.add_flag("--json", options.json, "with --emit=plan: all of it, as JSON (docs/plan.md)")->group("Output");
  app.add_flag("--details", options.details, "with --emit=plan: the kernels of every block and all decisions")
      ->group("Output")
      ->excludes(json);
  app.add_option("--decisions", options.decisions, "also write every decision of the plan to this file, as JSON")->group("Output");
  app.add_option("--report", options.report, "also write the plan to this file as an HTML page")->group("Output");
  app.add_flag("--remarks", options.step.remarks, "say every decision of the plan as a remark")->group("Output");
  app.add_option("--target", options.step.target, "where the step runs: cpu or sm_90a")
      ->check(CLI::IsMember({"cpu", "sm_90a"}))
      ->group("Step");
  app.add_option("--model", options.step.model, "the model to compile, where FILE declares several")->group("Step");
  app.add_option("--micro-batch", options.micro_batch, "rows of a micro-batch (as declared)")->check(count)->group("Step");
  app.add_option("--accumulate", options.accumulate, "micro-batches of a step (as declared)")->check(count)->group("Step");
  app.add_option("--precision", options.precision, "fp32 or bf16 (as declared)")->check(CLI::IsMember({"fp32", "bf16"}))->group("Step");
  app.add_option("--psiv-cache", options.psiv_cache,
                 "Mamba-3: keep x * mimo_x for the backward: off, auto or on (as declared; on where CPPMEGA_MAMBA3_P2_PSIV_CACHE is 1)")
      ->check(CLI::IsMember({"off", "auto", "on"}))
      ->group("Step");
  app.add_option("--mesh", options.mesh,
                 "ranks: dp=N of data, tp=N of tensors, ep=N of experts, such as dp=2,tp=4; "
                 "zero=1: data ranks share the optimizer's state (as declared)")
      ->delimiter(',')
      ->check(checkAxis)
      ->group("Step");
  app.add_flag("--sequence-parallel", options.sequence_parallel,
               "the ranks of tp share the tokens of what is not cut by heads, widths or the vocabulary (as declared)")
      ->group("Step");
  app.add_option("--memory", options.memory, "budget of a rank's memory, for example 132GiB (as declared)")->group("Step");
  app.add_option(
         "--recompute", options.step.recompute,
         "what the backward computes again: auto: what makes the step fit in --memory; none; full: all inside the blocks; or names of "
         "ops, [LETTER:]GLOB,... (as declared; auto)")
      ->group("Step");
  app.add_option("--costs", options.step.costs, "times to choose and report by, a file of megacc-run --calibrate (by FLOPs and bytes)")
      ->group("Step");
  app.add_flag("--pareto", options.step.pareto, "with --emit=plan or --report: what a step takes with less memory, down to the least")
      ->group("Step");
  app.add_flag("--allow-missing-costs", options.step.allow_missing_costs, "take FLOPs and bytes for launches that --costs lacks")
      ->group("Step");
  app.add_flag("--documents", options.documents, "the step takes document ids")->group("Step");
  app.add_option("--taps", taps, "hidden: also output the residual stream after every block")
      ->check(CLI::IsMember({"hidden"}))
      ->group("Debugging");
  app.add_flag("--log-blocks", options.step.log_blocks,
               "measure the stream and its gradient behind every block, attention and last states, for megacc-run --log-every")
      ->group("Debugging");
  app.footer(
      "MLIR's flags work too: --mlir-print-ir-after-all, --mlir-print-ir-tree-dir=DIR, --mlir-timing, --mlir-disable-threading, ...");
  app.set_version_flag("--version", [] { return megacc::describeBuild("megacc", {{"LLVM", LLVM_VERSION_STRING}}); });
  CLI::App *inspect = app.add_subcommand("inspect", "prints what a step.so is: its descriptor, receipt and hash");
  std::string step;
  bool isJson = false;
  inspect->add_option("STEP", step, "the step.so that megacc wrote")->required();
  inspect->add_flag("--json", isJson, "all of it, as JSON");
  inspect->footer("");
  CLI::App *diff = app.add_subcommand("diff", "prints what differs between two plans: figures and decisions");
  std::string before, after;
  diff->add_option("BEFORE", before, "a plan, as --emit=plan --json writes it")->required();
  diff->add_option("AFTER", after, "another one")->required();
  diff->add_flag("--json", isJson, "as JSON");
  diff->footer("");
  megacc::addDocumentFlags(app);
  app.allow_extras();
  app.callback([&] {
    if (!inspect->parsed() && !diff->parsed() && file->count() == 0)
      throw CLI::RequiredError("FILE");
  });
  CLI11_PARSE(app, argc, argv);
  if (inspect->parsed())
    return megacc::inspect(step, isJson);
  if (diff->parsed())
    return megacc::diffPlans(before, after, isJson);
  options.emit = Level(llvm::find(levels, emit) - levels.begin());
  options.step.taps = !taps.empty();
  const char *gate = std::getenv("CPPMEGA_MAMBA3_P2_PSIV_CACHE");
  if (gate && options.psiv_cache.empty() && llvm::is_contained({"1", "true", "True"}, StringRef(gate)))
    options.psiv_cache = "on";
  if (!readMlirFlags(app.remaining()) || !checkFlags(options))
    return 1;
  return run(std::move(options));
}

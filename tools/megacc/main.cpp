// megacc: the driver. Reads one declaration, checks it and prints what was asked for.
#include "dialects/Mega/Mega.h"
#include "lib/Plan/Plan.h"
#include "passes/mega/Passes.h"

#include "CLI/CLI.hpp"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"

using namespace mlir;

/// Writes what `emit` names to `os`.
static void print(const std::string &emit, ModuleOp module, llvm::raw_ostream &os) {
  if (emit == "mega") {
    module.print(os);
    os << "\n";
    return;
  }
  FailureOr<std::vector<megacc::mega::Model>> models = megacc::mega::readModels(module);
  for (const megacc::mega::Model &model : *models) // mega-check has passed
    emit == "stack" ? megacc::printStack(model, os) : megacc::printPlan(model, os);
}

int main(int argc, char **argv) {
  CLI::App app("megacc: checks the declaration of a hybrid language model and prints its stack or plan", "megacc");
  std::string input, output = "-", emit = "plan";
  app.add_option("FILE", input, "the declaration, an .mlir file")->required();
  app.add_option("-o", output, "where to write; - is the standard output")->group("Output");
  app.add_option("--emit", emit, "mega: the declaration; stack: one line a block; plan: parameters, FLOPs, bytes")
      ->check(CLI::IsMember({"mega", "stack", "plan"}))
      ->group("Output");
  app.set_version_flag("--version", MEGACC_VERSION);
  CLI11_PARSE(app, argc, argv);

  MLIRContext context;
  context.getOrLoadDialect<megacc::mega::MegaDialect>();
  context.printOpOnDiagnostic(false);
  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(input, &message);
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
  PassManager passes(&context);
  passes.addPass(megacc::mega::createMegaCheck());
  if (failed(passes.run(*module)))
    return 1;

  std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(output, &message);
  if (!file) {
    llvm::errs() << "error: " << message << "\n";
    return 1;
  }
  print(emit, *module, file->os());
  file->os().flush();
  if (file->os().has_error()) {
    llvm::errs() << "error: cannot write " << output << ": " << file->os().error().message() << "\n";
    file->os().clear_error();
    return 1;
  }
  file->keep();
  return 0;
}

// Declaration text: parsed, checked and expanded to its stacks; what is legal prints as a text that says the same.
#include "dialects/Mega/Mega.h"
#include "dialects/Mega/Stack.h"
#include "passes/mega/Passes.h"
#include "test/fuzz/FuzzSupport.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;

static std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream os(text);
  module.print(os);
  return text;
}

/// Whether the passes that read a declaration accept the module; every refusal must say something.
static bool isLegal(ModuleOp module, const bool &was_diagnosed) {
  PassManager passes(module.getContext());
  passes.addPass(megacc::mega::createMegaCheck());
  passes.addPass(megacc::mega::createMegaExpandPattern());
  passes.addPass(megacc::mega::createMegaPlaceFeatures());
  bool legal = succeeded(passes.run(module));
  require(legal || was_diagnosed, "a refusal says why");
  return legal;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<megacc::mega::MegaDialect>();
  bool was_diagnosed = false;
  ScopedDiagnosticHandler collect(&context, [&](Diagnostic &) { was_diagnosed = true; });
  std::string input(reinterpret_cast<const char *>(data), size); // the lexer expects a NUL after the text, as a file in memory has
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(input, &context);
  if (!module)
    return 0;
  std::string text = print(*module);
  if (!isLegal(*module, was_diagnosed))
    return 0;
  for (const std::string &legal : {text, print(*module)}) {
    OwningOpRef<ModuleOp> again = parseSourceString<ModuleOp>(legal, &context);
    require(bool(again) && print(*again) == legal, "what is legal prints as a text that says the same");
  }
  megacc::mega::readStacks(*module);
  return 0;
}

// MLIR's language server, which knows the dialects of megacc: mistakes, names and definitions while a declaration is written.
#include "dialects/Mega/Mega.h"
#include "dialects/Rt/Rt.h"
#include "dialects/Step/Step.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<megacc::mega::MegaDialect, megacc::step::StepDialect, megacc::rt::RtDialect, mlir::LLVM::LLVMDialect>();
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry)) ? 1 : 0;
}

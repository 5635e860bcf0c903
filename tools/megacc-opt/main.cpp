// MLIR's optimizer driver with the dialects and passes of megacc.
#include "dialects/Mega/Mega.h"
#include "dialects/Rt/Rt.h"
#include "dialects/Step/Step.h"
#include "passes/Pipelines.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<megacc::mega::MegaDialect, megacc::step::StepDialect, megacc::rt::RtDialect, mlir::LLVM::LLVMDialect>();
  megacc::registerPassesAndPipelines();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "megacc optimizer\n", registry));
}

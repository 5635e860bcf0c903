// MLIR's reducer with the dialects and passes of megacc: the smallest file that a given script still finds interesting.
#include "dialects/Mega/Mega.h"
#include "dialects/Rt/Rt.h"
#include "dialects/Step/Step.h"
#include "passes/Pipelines.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<megacc::mega::MegaDialect, megacc::step::StepDialect, megacc::rt::RtDialect, mlir::LLVM::LLVMDialect>();
  megacc::registerPassesAndPipelines();
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context)) ? 1 : 0;
}

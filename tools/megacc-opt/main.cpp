// MLIR's optimizer driver with the dialects and passes of megacc.
#include "dialects/Mega/Mega.h"
#include "passes/mega/Passes.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<megacc::mega::MegaDialect>();
  megacc::mega::registerMegaPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "megacc optimizer\n", registry));
}

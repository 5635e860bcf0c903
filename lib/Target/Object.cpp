#include "lib/Target/Object.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;

namespace megacc {

static constexpr const char *kTriple = "x86_64-unknown-linux-gnu";

std::unique_ptr<llvm::Module> translateToLLVM(ModuleOp module, llvm::LLVMContext &context) {
  registerBuiltinDialectTranslation(*module.getContext());
  registerLLVMDialectTranslation(*module.getContext());
  std::unique_ptr<llvm::Module> translated = translateModuleToLLVMIR(module, context, "step");
  if (!translated)
    return nullptr;
  translated->setTargetTriple(llvm::Triple(kTriple));
  translated->setPICLevel(llvm::PICLevel::BigPIC);
  return translated;
}

FailureOr<llvm::SmallVector<char>> emitObject(ModuleOp module) {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated = translateToLLVM(module, context);
  if (!translated)
    return failure();
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  std::string message;
  llvm::Triple triple(kTriple);
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!target) {
    module.emitError("LLVM has no target for ") << kTriple << ": " << message;
    return failure();
  }
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(triple, "x86-64", "", llvm::TargetOptions(), llvm::Reloc::PIC_,
                                                                           std::nullopt, llvm::CodeGenOptLevel::None));
  translated->setDataLayout(machine->createDataLayout());
  llvm::SmallVector<char> object;
  llvm::raw_svector_ostream os(object);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, os, nullptr, llvm::CodeGenFileType::ObjectFile)) {
    module.emitError("LLVM cannot write objects for ") << kTriple;
    return failure();
  }
  passes.run(*translated);
  return object;
}

} // namespace megacc

//===- StepBase.td - the dialect and its base classes ---------------------===//
#ifndef MEGACC_STEPBASE_TD
#define MEGACC_STEPBASE_TD

include "dialects/Interfaces/StepInterfaces.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Step_Dialect : Dialect {
  let name = "step";
  let summary = "one training step over tensors";
  let description = [{
    Three functions over one state: `@micro_batch` (forward, losses, backward), `@update` (what happens once a step) and `@evaluate`. Each is
    one block with static shapes. Activations are tensors of rows = batch * sequence by columns. One compute op is one kernel. Every op
    inside a function carries `block` (slot, -1 outside blocks) and `phase` ("forward", "backward" or "update").
  }];
  let cppNamespace = "::megacc::step";
}

def Step_F32 : StaticShapeTensorOf<[F32]>;
def Step_I32 : StaticShapeTensorOf<[I32]>;
def Step_Any : StaticShapeTensorOf<[F32, I32]>;

def Step_Gradient : DeclareOpInterfaceMethods<GradientOpInterface>;
def Step_Sharding : DeclareOpInterfaceMethods<ShardingRuleOpInterface>;
def Step_Kernel : DeclareOpInterfaceMethods<KernelOpInterface>;
def Step_Update : DeclareOpInterfaceMethods<UpdateOpInterface>;
def Step_Cost : DeclareOpInterfaceMethods<CostOpInterface, ["getCost"]>;

class Step_Op<string mnemonic, list<Trait> traits = []> : Op<Step_Dialect, mnemonic, traits>;

/// One kernel: operands are its inputs in order, results its outputs.
class Step_ComputeOp<string mnemonic, list<Trait> traits = []>
    : Step_Op<mnemonic, !listconcat([Pure, Step_Sharding, Step_Kernel], traits)> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

#endif

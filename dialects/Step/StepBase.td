// The dialect and its base classes.
#ifndef MEGACC_STEPBASE_TD
#define MEGACC_STEPBASE_TD

include "dialects/Interfaces/StepInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Step_Dialect : Dialect {
  let name = "step";
  let summary = "one training step over tensors";
  let description = [{
    Functions over one state: `@micro_batch` (forward, losses, backward), `@update` (what happens once a step) and `@evaluate`. Each is
    one block with static shapes. Activations are tensors of rows = batch * sequence by columns, written [T, columns]. One op is one
    launch. Every op inside a function carries `block` (slot, -1 outside blocks) and `phase`. Activations, their gradients and most
    parameters are f32 or bf16, decided once (mega-to-step); the gradient of a parameter is f32 whatever the parameter's type.

    A cache is a result that a forward op keeps for its gradient op: its statistics, its states. Ops are built without caches;
    step-apply-memory adds them as the record of the op names and types them. `cached` names the caches in order, on both ops. Without a
    cache the gradient op computes it again.
  }];
  let cppNamespace = "::megacc::step";
  let useDefaultAttributePrinterParser = 1;
}

def Step_Float : StaticShapeTensorOf<[F32, BF16]>;
def Step_F32 : StaticShapeTensorOf<[F32]>;
def Step_F64 : StaticShapeTensorOf<[F64]>;
def Step_I32 : StaticShapeTensorOf<[I32]>;
def Step_Any : StaticShapeTensorOf<[F32, BF16, F64, I32]>;

class Step_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::megacc::step";
  let genSpecializedAttr = 0;
}

/// When an op runs: recompute is a forward op run again beside its backward use.
def Step_Phase : Step_Enum<"Phase", "phase of an op", [
  I32EnumAttrCase<"forward", 0>, I32EnumAttrCase<"recompute", 1>, I32EnumAttrCase<"backward", 2>, I32EnumAttrCase<"update", 3>]>;
def Step_PhaseAttr : EnumAttr<Step_Dialect, Step_Phase, "phase"> {
  let assemblyFormat = "`<` $value `>`";
}

/// Numbered as the kernels take them.
def Step_Activation : Step_Enum<"Activation", "activation function", [
  I32EnumAttrCase<"gelu", 0>, I32EnumAttrCase<"gelu_tanh", 1>, I32EnumAttrCase<"relu2", 2>, I32EnumAttrCase<"swiglu", 3>]>;
def Step_ActivationAttr : EnumAttr<Step_Dialect, Step_Activation, "activation">;

/// Numbered as mg_initialize takes them.
def Step_Initializer : Step_Enum<"Initializer", "initial values of a parameter", [
  I32EnumAttrCase<"constant", 0>, I32EnumAttrCase<"normal", 1>, I32EnumAttrCase<"uniform", 2>, I32EnumAttrCase<"dt_bias", 3>,
  I32EnumAttrCase<"a_log", 4>, I32EnumAttrCase<"identity", 5>, I32EnumAttrCase<"mhc", 6>]>;
def Step_InitializerAttr : EnumAttr<Step_Dialect, Step_Initializer, "initializer">;

/// Parameters that one sweep of the optimizer updates alike; the order of their layout.
def Step_Group : Step_Enum<"Group", "group of parameters", [
  I32EnumAttrCase<"f32_decays", 0>, I32EnumAttrCase<"f32_plain", 1>, I32EnumAttrCase<"bf16_decays", 2>, I32EnumAttrCase<"bf16_plain", 3>,
  I32EnumAttrCase<"muon_f32", 4>, I32EnumAttrCase<"muon_bf16", 5>, I32EnumAttrCase<"untrained", 6>]>;
def Step_GroupAttr : EnumAttr<Step_Dialect, Step_Group, "group">;

def Step_Gradient : DeclareOpInterfaceMethods<GradientOpInterface>;
def Step_Sharding : DeclareOpInterfaceMethods<ShardingRuleOpInterface>;
def Step_Kernel : DeclareOpInterfaceMethods<KernelOpInterface>;
def Step_Update : DeclareOpInterfaceMethods<UpdateOpInterface>;
def Step_Cost : DeclareOpInterfaceMethods<CostOpInterface, ["getCost"]>;
def Step_Measure : DeclareOpInterfaceMethods<MeasureOpInterface>;
def Step_Flags : DeclareOpInterfaceMethods<FlagOpInterface>;

/// Names of the caches, in the order of the op's last results or operands.
def Step_Cached : DefaultValuedOptionalAttr<StrArrayAttr, "{}">;
/// The mesh axis over which a dimension is split, -1 without: the kernel asks the context for its part.
def Step_Axis : DefaultValuedAttr<I64Attr, "-1">;

/// A factor of the result.
def Step_Scale : DefaultValuedAttr<F64Attr, "1.0">;

class Step_Op<string mnemonic, list<Trait> traits = []> : Op<Step_Dialect, mnemonic, traits>;

/// One kernel without effects: operands are its inputs in order, results its outputs.
class Step_ComputeOp<string mnemonic, list<Trait> traits = []>
    : Step_Op<mnemonic, !listconcat([Pure, Step_Sharding, Step_Kernel], traits)> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

/// One kernel that may raise flags in metrics; without them it has no effects.
class Step_FlaggedOp<string mnemonic, list<Trait> traits = []>
    : Step_Op<mnemonic, !listconcat([AlwaysSpeculatable, DeclareOpInterfaceMethods<MemoryEffectsOpInterface>, Step_Flags, Step_Sharding,
                                     Step_Kernel], traits)> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

/// A backward kernel.
class Step_GradOp<string mnemonic, list<Trait> traits = []> : Step_ComputeOp<mnemonic, traits>;

/// An op that writes metrics, outputs or state.
class Step_EffectOp<string mnemonic, list<Trait> traits = []> : Step_Op<mnemonic, !listconcat([MemoryEffects<[MemWrite]>], traits)>;

#endif

// Launches over a planned arena.
#ifndef MEGACC_RTOPS_TD
#define MEGACC_RTOPS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"

def Rt_Dialect : Dialect {
  let name = "rt";
  let summary = "kernel launches over byte ranges of the arena";
  let description = [{
    What will run, in order: one function for each entry of step.so, each a list of launches. Nothing here is a value; operands are
    byte ranges of the arena's segments, whose sizes are `rt.segment`s.
  }];
  let cppNamespace = "::megacc::rt";
  let useDefaultAttributePrinterParser = 1;
}

def Rt_RangeAttr : AttrDef<Rt_Dialect, "Range"> {
  let mnemonic = "range";
  let summary = "bytes of a segment";
  let description = [{
    `temporaries[256 : 64] value 17`: 64 bytes from byte 256, which hold value 17 of the function (-1, not printed: no value of its own).
    `io[0 : 64 + 256 m]`: the range moves by 256 bytes per micro-batch.
    `weights[0 : 64] bf16`: its elements are bf16 (an `enum MgType`; f32 is not printed, `raw` has none).
  }];
  let parameters = (ins "int64_t":$segment, "int64_t":$offset, "int64_t":$bytes, "int64_t":$stride, "int64_t":$value, "int64_t":$type);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

class Rt_Op<string mnemonic, list<Trait> traits = []> : Op<Rt_Dialect, mnemonic, traits>;

def Rt_SegmentOp : Rt_Op<"segment"> {
  let summary = "size of a segment of the arena, in bytes";
  let description = [{
    `live_bytes` is the lower bound: the most bytes alive at one launch, every size aligned. `peak` names the function that sets it.
  }];
  let arguments = (ins StrAttr:$name, I64Attr:$bytes, OptionalAttr<I64Attr>:$live_bytes, OptionalAttr<StrAttr>:$peak);
  let assemblyFormat = "$name `bytes` $bytes attr-dict";
  let hasVerifier = 1;
}

def Rt_ParameterOp : Rt_Op<"parameter"> {
  let summary = "a tensor of the model's state and where it lies";
  let description = [{
    A tensor of f32 or bf16. `master`, its fp32 value, stands beside a bf16 parameter alone; the gradient is fp32, moments are fp32 or
    bf16. A parameter that is not trained has no gradient and no moments, one under Muon no second moment. `init` and `init_a` as in
    step.parameter. Where ranks of a mesh share it, `type` is a rank's part, `whole` the tensor and `sharding` how
    (dialects/Interfaces/Sharding.h). With `swept` [axes, first, count], the ranks of the mesh axes with bits 1 << axis share the update of
    `count` elements, of which this tensor is those from `first` on: gradients are summed for, and master and moments are the places of, the
    rank's equal part of all of them, not of this tensor.
  }];
  let arguments = (ins StrAttr:$name, TypeAttr:$type, Rt_RangeAttr:$weight, OptionalAttr<Rt_RangeAttr>:$gradient,
                       OptionalAttr<Rt_RangeAttr>:$master, OptionalAttr<Rt_RangeAttr>:$first_moment,
                       OptionalAttr<Rt_RangeAttr>:$second_moment, UnitAttr:$decays, UnitAttr:$trained, StrAttr:$init, F64Attr:$init_a,
                       I64Attr:$block, OptionalAttr<StrAttr>:$sharding, OptionalAttr<TypeAttr>:$whole,
                       OptionalAttr<DenseI64ArrayAttr>:$swept);
  let assemblyFormat = "$name `:` $type `at` $weight attr-dict";
  let hasVerifier = 1;
}

def Rt_InputOp : Rt_Op<"input"> {
  let summary = "what the host writes before a step";
  let arguments = (ins StrAttr:$name, TypeAttr:$type, Rt_RangeAttr:$range);
  let assemblyFormat = "$name `:` $type `at` $range attr-dict";
  let hasVerifier = 1;
}

def Rt_MetricOp : Rt_Op<"metric"> {
  let summary = "numbers the host reads after a step";
  let description = [{`loss.*` are the terms of the objective, already weighted.}];
  let arguments = (ins StrAttr:$name, TypeAttr:$type, Rt_RangeAttr:$range, F64Attr:$weight);
  let assemblyFormat = "$name `:` $type `at` $range attr-dict";
  let hasVerifier = 1;
}

def Rt_OutputOp : Rt_Op<"output"> {
  let summary = "tensors the host reads after a function";
  let arguments = (ins StrAttr:$name, StrAttr:$function, TypeAttr:$type, Rt_RangeAttr:$range);
  let assemblyFormat = "$name `of` $function `:` $type `at` $range attr-dict";
  let hasVerifier = 1;
}

def Rt_TableOp : Rt_Op<"table"> {
  let summary = "contents of a range of the constants, for kernels that need a table";
  let description = [{`rt.table <constants[0 : 24] i64> [1, 2, 3]`}];
  let arguments = (ins Rt_RangeAttr:$range, DenseI64ArrayAttr:$values);
  let assemblyFormat = "$range $values attr-dict";
  let hasVerifier = 1;
}

def Rt_FuncOp : Rt_Op<"func", [Symbol, IsolatedFromAbove, NoTerminator, SingleBlock]> {
  let summary = "launches, one after the other";
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
}

def Rt_CallOp : Rt_Op<"call", [HasParent<"FuncOp">]> {
  let summary = "one launch of a kernel of kernels.def";
  let description = [{
    `rt.call @mg_add(out temporaries[0 : 64] value 2, in temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block 0 cost 0 192`

    Operands in the order of kernels.def with their roles (`null` for an absent optional one), then the parameters by name, the stream
    (`on 1`, an `enum MgStreamName`; not there: 0), the slot of the stack (-1 outside blocks), FLOPs and bytes moved.
  }];
  let arguments = (ins StrAttr:$kernel, ArrayAttr:$ranges, DenseI64ArrayAttr:$ints, DenseF64ArrayAttr:$doubles,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$stream, I64Attr:$block, I64Attr:$flops, I64Attr:$moved_bytes);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$kernel, "::llvm::ArrayRef<::mlir::Attribute>":$ranges,
                                 "::llvm::ArrayRef<int64_t>":$ints, "::llvm::ArrayRef<double>":$doubles, "int64_t":$block, "int64_t":$flops,
                                 "int64_t":$moved_bytes, CArg<"int64_t", "0">:$stream)>];
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

#endif

// The declaration of a model: what people write.
#ifndef MEGACC_MEGA_TD
#define MEGACC_MEGA_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/RegionKindInterface.td"

def Mega_Dialect : Dialect {
  let name = "mega";
  let cppNamespace = "::megacc::mega";
  let summary = "declaration of a hybrid language model and of how it is trained";
  let useDefaultAttributePrinterParser = 1;
}

def Mega_KindAttr : AttrDef<Mega_Dialect, "Kind"> {
  let mnemonic = "kind";
  let summary = "a kind and its keys, as written: mla<heads = 4, rope = 8>";
  let description = [{
    Order and duplicates are kept for `mega-check`. A keyword value (`bf16`) is a kind without keys, a bare table (`<dp = 1>`) has an
    empty kind, and what cannot be a value (`3e-4`, `132GiB`) is the kind `!malformed` with the text as its only key.
  }];
  let parameters = (ins StringRefParameter<"word">:$word, ArrayRefParameter<"::mlir::NamedAttribute">:$keys);
  let hasCustomAssemblyFormat = 1;
}

class Mega_Op<string mnemonic, list<Trait> traits = []> : Op<Mega_Dialect, mnemonic, traits> {
  let hasCustomAssemblyFormat = 1;
}

def Mega_ModelOp : Mega_Op<"model", [NoTerminator, SingleBlock]> {
  let summary = "one model: widths, norm, pattern, families and placements";
  let description = [{
    `norm` is a kind, rms where there is none: what stands for every norm of width hidden outside the mixers. With `layer_scale` what a
    block adds is scaled by a vector that starts at this number; without, or at 0.0, there is no such vector.
  }];
  let arguments = (ins StrAttr:$symbol, I64Attr:$hidden, I64Attr:$vocab, I64Attr:$sequence, OptionalAttr<Mega_KindAttr>:$norm,
                       OptionalAttr<AnyAttr>:$layer_scale);
  let regions = (region SizedRegion<1>:$body);
}

def Mega_PatternOp : Mega_Op<"pattern"> {
  let summary = "letters tiled over the depth";
  let arguments = (ins StrAttr:$text, I64Attr:$depth);
}

def Mega_FamilyOp : Mega_Op<"family"> {
  let summary = "binds a letter to a block family";
  let arguments = (ins StrAttr:$letter, Mega_KindAttr:$kind);
}

def Mega_PlaceOp : Mega_Op<"place"> {
  let summary = "places a feature on the input, the objective, or blocks by letter and rank";
  let arguments = (ins Mega_KindAttr:$kind, StrAttr:$target, UnitAttr:$on_letter, OptionalAttr<ArrayAttr>:$ranks);
}

def Mega_TrainOp : Mega_Op<"train"> {
  let summary = "how a model is trained";
  let arguments = (ins StrAttr:$symbol, StrAttr:$model, Mega_KindAttr:$settings);
}

def Mega_StackOp : Mega_Op<"stack", [NoTerminator, SingleBlock]> {
  let summary = "one model as explicit blocks";
  let description = [{
    Made from a `mega.model` by `mega-expand-pattern`; gone after `mega-to-step`. Holds one `mega.block` per slot in order, then the
    families (extra prediction depths build blocks of their own) and the placements. All keys are written out, those that follow from
    other sizes too.
    `stage_cuts` are the slots before which a pipeline stage begins. `norm` and `layer_scale` are there where they are not the defaults.
  }];
  let arguments = (ins StrAttr:$symbol, I64Attr:$hidden, I64Attr:$vocab, I64Attr:$sequence, DenseI64ArrayAttr:$stage_cuts,
                       OptionalAttr<Mega_KindAttr>:$norm, OptionalAttr<AnyAttr>:$layer_scale);
  let regions = (region SizedRegion<1>:$body);
}

def Mega_BlockOp : Mega_Op<"block"> {
  let summary = "one slot of a stack: its family and the features placed on it";
  let description = [{
    `rank` counts the blocks of a letter. Each feature is a kind with all its keys; its key `order` counts the blocks of its placement.
    Features are put there by `mega-place-features`.
  }];
  let arguments = (ins I64Attr:$slot, StrAttr:$letter, I64Attr:$rank, Mega_KindAttr:$kind, DefaultValuedAttr<ArrayAttr, "{}">:$features);
}

#endif

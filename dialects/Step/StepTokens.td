// What a token takes from its neighbours.
#ifndef MEGACC_STEPTOKENS_TD
#define MEGACC_STEPTOKENS_TD

include "dialects/Step/StepBase.td"

def Step_NgramRowsOp : Step_ComputeOp<"ngram_rows", [CostOpInterface]> {
  let summary = "rows of the n-gram tables by hash (conventions section 11)";
  let description = [{
    tokens [batch, sequence]; ids [T, tables], rows of the tables stacked in order. Table j hashes the last `orders[j]` tokens to one of its
    `sizes[j]` rows; tokens before the row or the document are 0.
  }];
  let arguments = (ins Step_I32:$tokens, Optional<Step_I32>:$documents, DenseI64ArrayAttr:$orders, DenseI64ArrayAttr:$sizes, I64Attr:$seed);
  let results = (outs Step_I32:$ids);
}

def Step_ShiftOp : Step_ComputeOp<"shift", [Step_Gradient, CostOpInterface]> {
  let summary = "the rows `distance` tokens ahead (negative: back), zero outside the row and the document";
  let description = [{x, y [T, cols], documents [batch, sequence].}];
  let arguments = (ins Step_Float:$x, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence, I64Attr:$distance);
  let results = (outs Step_Float:$y);
}

def Step_ShiftTargetsOp : Step_ComputeOp<"shift_targets", [CostOpInterface, AllTypesMatch<["targets", "shifted"]>]> {
  let summary = "the targets `distance` tokens ahead, -1 (ignored) outside the row and the document";
  let description = [{targets, documents, shifted [batch, sequence].}];
  let arguments = (ins Step_I32:$targets, Optional<Step_I32>:$documents, I64Attr:$distance);
  let results = (outs Step_I32:$shifted);
  let hasVerifier = 0;
}

#endif

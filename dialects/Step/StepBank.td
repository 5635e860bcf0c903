// Attention to a bank that all tokens share.
#ifndef MEGACC_STEPBANK_TD
#define MEGACC_STEPBANK_TD

include "dialects/Step/StepBase.td"

def Step_BankAttentionOp : Step_ComputeOp<"bank_attention", [Step_Gradient, Step_Cost]> {
  let summary = "y = softmax(scale q k^T) v for every head, over all rows of the bank";
  let description = [{q, y [T, heads*dim]; k, v [bank, heads*dim]. Nothing is masked.}];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Step_Float:$v, I64Attr:$heads, F64Attr:$scale);
  let results = (outs Step_Float:$y);
}

def Step_BankAttentionGradOp : Step_GradOp<"bank_attention_grad", [Step_Cost]> {
  let summary = "d_v = p^T d_y, d_q = scale d_s k, d_k = scale d_s^T q with d_s = p (d_p - rowsum(p d_p)), d_p = d_y v^T";
  let description = [{p = softmax(scale q k^T). Shapes as in step.bank_attention; d_k and d_v sum over all T rows.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$q, Step_Float:$k, Step_Float:$v, I64Attr:$heads, F64Attr:$scale);
  let results = (outs Step_Float:$d_q, Step_Float:$d_k, Step_Float:$d_v);
}

#endif

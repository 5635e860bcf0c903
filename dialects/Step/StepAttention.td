// Heads, positions and attention.
#ifndef MEGACC_STEPATTENTION_TD
#define MEGACC_STEPATTENTION_TD

include "dialects/Step/StepBase.td"

def Step_RopeOp : Step_ComputeOp<"rope", [Step_Gradient, CostOpInterface]> {
  let summary = "rotates channels [offset, offset + width) of every head by its position";
  let description = [{
    x, y [T, heads*head_dim]. Channel j of the slice pairs with j + width/2: (a, b) -> (a cos - b sin, a sin + b cos), angle = position *
    theta^(-2j/width), position = row mod sequence. Only the first `pairs`, the fastest, turn where that is given. `inverse` turns back,
    which is the gradient.
  }];
  let arguments = (ins Step_Float:$x, I64Attr:$sequence, I64Attr:$heads, I64Attr:$head_dim, I64Attr:$offset, I64Attr:$width, F64Attr:$theta,
                       OptionalAttr<I64Attr>:$pairs, UnitAttr:$inverse);
  let results = (outs Step_Float:$y);
}

def Step_SplitOp : Step_ComputeOp<"split", [Step_Gradient, CostOpInterface]> {
  let summary = "cuts the columns of every group into parts";
  let description = [{x [T, groups * sum of widths]; part i is [T, groups * widths[i]]; 2 to 4 parts.}];
  let arguments = (ins Step_Float:$x, I64Attr:$groups, DenseI64ArrayAttr:$widths);
  let results = (outs Variadic<Step_Float>:$parts);
}

def Step_ConcatOp : Step_ComputeOp<"concat", [Step_Gradient, CostOpInterface]> {
  let summary = "the inverse of split";
  let description = [{part i is [T, groups * widths[i]]; y [T, groups * sum of widths].}];
  let arguments = (ins Variadic<Step_Float>:$parts, I64Attr:$groups, DenseI64ArrayAttr:$widths);
  let results = (outs Step_Float:$y);
}

def Step_RepeatGroupsOp : Step_ComputeOp<"repeat_groups", [Step_Gradient, CostOpInterface]> {
  let summary = "y = scale x, repeated for every group of columns";
  let description = [{x [T, width], y [T, groups*width].}];
  let arguments = (ins Step_Float:$x, I64Attr:$groups, Step_Scale:$scale);
  let results = (outs Step_Float:$y);
}

def Step_SumGroupsOp : Step_ComputeOp<"sum_groups", [Step_Gradient, CostOpInterface]> {
  let summary = "y = scale times the sum over all groups of columns";
  let description = [{x [T, groups*width], y [T, width].}];
  let arguments = (ins Step_Float:$x, I64Attr:$groups, Step_Scale:$scale);
  let results = (outs Step_Float:$y);
}

def Step_AttentionOp : Step_ComputeOp<"attention", [Step_Gradient, Step_Cost, Step_Measure]> {
  let summary = "y = softmax(scale q k^T) v, causal, inside documents where they are given";
  let description = [{
    q [T, heads*qk_dim], k [T, kv_heads*qk_dim], v [T, kv_heads*v_dim], y [T, heads*v_dim], documents [batch, sequence]. Query head i reads
    key-value head i / (heads/kv_heads). Cache: lse [batch, heads, sequence], the log-sum-exp of the scaled scores.
  }];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Step_Float:$v, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$qk_dim, I64Attr:$v_dim, F64Attr:$scale, Step_Cached:$cached);
  let results = (outs Step_Float:$y, Variadic<Step_Any>:$caches);
}

def Step_AttentionGradOp : Step_GradOp<"attention_grad", [Step_Cost, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<CacheOpInterface>]> {
  let summary = "d_v = p^T d_y, d_q = scale d_s k, d_k = scale d_s^T q with d_s = p (d_y v^T - rowsum(d_y y)), p = exp(scale q k^T - lse)";
  let description = [{Shapes as in step.attention; d_k and d_v sum over the query heads of their key-value head.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$y, Step_Float:$q, Step_Float:$k, Step_Float:$v, Optional<Step_I32>:$documents,
                       Variadic<Step_Any>:$caches, I64Attr:$batch, I64Attr:$sequence, I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$qk_dim,
                       I64Attr:$v_dim, F64Attr:$scale, Step_Cached:$cached);
  let results = (outs Step_Float:$d_q, Step_Float:$d_k, Step_Float:$d_v);
}

def Step_AttentionEntropyOp : Step_ComputeOp<"attention_entropy", [Step_Cost, AttrSizedOperandSegments]> {
  let summary = "entropy = share * sum over queries and heads of -sum over keys of p log p, p = softmax(scale q k^T)";
  let description = [{
    q [T, heads*qk_dim], k [T, kv_heads*qk_dim]; entropy [1], in nats. Keys of a query are those of its support [T, kept], where it is
    given, else those up to the query in its document; no key gives NaN. With `share` = 1 / (queries of all ranks * heads) it is the mean.
  }];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Optional<Step_I32>:$documents, Optional<Step_I32>:$support, I64Attr:$batch,
                       I64Attr:$sequence, I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$qk_dim, F64Attr:$scale, F64Attr:$share);
  let results = (outs Step_F32:$entropy);
}

def Step_BiasedAttentionOp : Step_ComputeOp<"biased_attention", [Step_Gradient, Step_Cost]> {
  let summary = "attention whose scaled scores get a bias by the relations between the chunks of query and key";
  let description = [{
    As step.attention, with score(t, s) = scale q_t . k_s + the sum of weight[h, r] over the bits r of bits[b, chunk[b, t], chunk[b, s]];
    nothing where a chunk is outside [0, chunks), and bits from `relations` on are ignored. weight [heads, relations], chunk
    [batch, sequence], bits [batch, chunks, chunks]. Cache: lse [batch, heads, sequence], of the scores with their bias.
  }];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_F32:$weight, Step_I32:$chunk, Step_I32:$bits,
                       Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence, I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$qk_dim,
                       I64Attr:$v_dim, F64Attr:$scale, Step_Cached:$cached);
  let results = (outs Step_Float:$y, Variadic<Step_Any>:$caches);
}

def Step_BiasedAttentionGradOp : Step_GradOp<"biased_attention_grad", [Step_Cost, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<CacheOpInterface>]> {
  let summary = "as step.attention_grad, and d_weight[h, r] = sum of d_s / scale over the pairs of tokens between whose chunks r holds";
  let description = [{Shapes as in step.biased_attention; d_weight [heads, relations].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$y, Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_F32:$weight, Step_I32:$chunk,
                       Step_I32:$bits, Optional<Step_I32>:$documents, Variadic<Step_Any>:$caches, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$qk_dim, I64Attr:$v_dim, F64Attr:$scale, Step_Cached:$cached);
  let results = (outs Step_Float:$d_q, Step_Float:$d_k, Step_Float:$d_v, Step_F32:$d_weight);
}

#endif

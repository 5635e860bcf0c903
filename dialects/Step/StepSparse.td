// Attention to the keys that an indexer picks (conventions 6.3 to 6.8).
#ifndef MEGACC_STEPSPARSE_TD
#define MEGACC_STEPSPARSE_TD

include "dialects/Step/StepBase.td"

def Step_SelectKeysOp : Step_ComputeOp<"select_keys", [Step_Cost]> {
  let summary = "the keys of every query with the largest scores of an indexer";
  let description = [{
    q [T, heads*dim], k [T, dim], weights [T, heads], documents [batch, sequence]; support [T, kept]. The score of a key s for a query t is
    sum_h weights[t, h] relu(q[t, h] . k[s]), in f32; a factor would not change their order. Keys are those of the same row and document up
    to the query. A query's support is its min(kept, number of keys) best, of equal scores (-0 equals +0) the lower positions: positions in
    the row, ascending, then -1. A query with a score that is NaN has no support at all. Selection has no gradient.
  }];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Step_Float:$weights, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$heads, I64Attr:$dim);
  let results = (outs Step_I32:$support);
}

def Step_SparseAttentionOp : Step_ComputeOp<"sparse_attention", [Step_Gradient, Step_Cost, Step_Measure]> {
  let summary = "y = softmax(scale q k^T) v over the support of every query";
  let description = [{
    q, k [T, heads*qk_dim], v, y [T, heads*v_dim], support [T, kept] as step.select_keys makes it. A query without a support gives NaN.
  }];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_I32:$support, I64Attr:$batch, I64Attr:$sequence, I64Attr:$heads,
                       I64Attr:$qk_dim, I64Attr:$v_dim, F64Attr:$scale);
  let results = (outs Step_Float:$y);
}

def Step_SparseAttentionGradOp : Step_GradOp<"sparse_attention_grad", [Step_Cost]> {
  let summary = "d_v = p^T d_y, d_q = scale d_s k, d_k = scale d_s^T q with p the softmax, d_p = d_y v^T, d_s = p (d_p - sum of p d_p)";
  let description = [{Shapes as in step.sparse_attention; sums over queries go in their order. The softmax is computed again.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_I32:$support, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$heads, I64Attr:$qk_dim, I64Attr:$v_dim, F64Attr:$scale);
  let results = (outs Step_Float:$d_q, Step_Float:$d_k, Step_Float:$d_v);
}

def Step_SupportKlOp : Step_ComputeOp<"support_kl", [Step_Gradient, Step_Cost]> {
  let summary = "loss = kl / tokens sum over queries of KL(target || prediction) on their support";
  let description = [{
    target: mean over heads of the attention probabilities, from q, k [T, heads*qk_dim] with `scale`; it is a constant. prediction: softmax
    of `index_scale` times the indexer's scores, from index_q [T, index_heads*index_dim], index_k [T, index_dim], index_weights [T,
    index_heads] as in step.select_keys. support [T, kept]; loss [1]; difference [T, kept] = prediction - target, 0 where the support is -1:
    the gradient by the scores but for its factor. `tokens` are those of all ranks. The loss is a term of the objective and nothing else,
    and `kl` its weight there.
  }];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Step_Float:$index_q, Step_Float:$index_k, Step_Float:$index_weights,
                       Step_I32:$support, I64Attr:$batch, I64Attr:$sequence, I64Attr:$heads, I64Attr:$qk_dim, I64Attr:$index_heads,
                       I64Attr:$index_dim, I64Attr:$tokens, F64Attr:$scale, F64Attr:$index_scale, F64Attr:$kl);
  let results = (outs Step_F32:$loss, Step_F32:$difference);
}

def Step_SupportKlGradOp : Step_GradOp<"support_kl_grad", [Step_Cost]> {
  let summary = "gradient of step.support_kl by the indexer, where that by the scores is factor * difference";
  let description = [{
    With g = factor index_scale difference[t, j], s = support[t, j], a = index_q[t, h] . index_k[s], sums where a > 0: d_index_weights[t, h]
    = sum_j g a; d_index_q[t, h] = index_weights[t, h] sum_j g index_k[s]; d_index_k[s] = sum over t, h of g index_weights[t, h]
    index_q[t, h].
  }];
  let arguments = (ins Step_F32:$difference, Step_Float:$index_q, Step_Float:$index_k, Step_Float:$index_weights, Step_I32:$support,
                       I64Attr:$batch, I64Attr:$sequence, I64Attr:$index_heads, I64Attr:$index_dim, F64Attr:$index_scale, F64Attr:$factor);
  let results = (outs Step_Float:$d_index_q, Step_Float:$d_index_k, Step_Float:$d_index_weights);
}

#endif

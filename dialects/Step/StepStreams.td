// A residual of several streams (hyper-connections).
#ifndef MEGACC_STEPSTREAMS_TD
#define MEGACC_STEPSTREAMS_TD

include "dialects/Step/StepBase.td"

def Step_MhcReadOp : Step_ComputeOp<"mhc_read", [Step_Gradient, Step_Cost]> {
  let summary = "what a block reads of the streams, and the maps by which it writes them (conventions section 10)";
  let description = [{
    x [T, streams*cols], the streams of a token side by side; logits [T, streams*(streams + 2)] = x W^T, bias [streams*(streams + 2)].
    l = logits / sqrt(mean(x^2) + eps) + bias has the parts pre (streams), post (streams) and res (streams x streams, a row an output
    stream). u [T, cols] = sum_i softmax(pre)_i x_i; maps [T, streams*(streams + 1)] = 2 sigmoid(post), then exp(res) after `iterations`
    times dividing each column by its sum, then each row by its sum.
  }];
  let arguments = (ins Step_Float:$x, Step_Float:$logits, Step_F32:$bias, I64Attr:$streams, I64Attr:$iterations, F64Attr:$eps);
  let results = (outs Step_Float:$u, Step_F32:$maps);
}

def Step_MhcReadGradOp : Step_GradOp<"mhc_read_grad", [Step_Cost]> {
  let summary = "d_x, d_logits and d_bias of u and the maps";
  let description = [{Shapes as in step.mhc_read; the iterations are computed again. d_x lacks what reaches x through the logits.}];
  let arguments = (ins Step_Float:$d_u, Step_F32:$d_maps, Step_Float:$x, Step_Float:$logits, Step_F32:$bias, I64Attr:$streams,
                       I64Attr:$iterations, F64Attr:$eps);
  let results = (outs Step_Float:$d_x, Step_Float:$d_logits, Step_F32:$d_bias);
}

def Step_MhcWriteOp : Step_ComputeOp<"mhc_write", [Step_Gradient, Step_Cost]> {
  let summary = "y_j = sum_i res[j, i] x_i + post_j v";
  let description = [{x, y [T, streams*cols], v [T, cols], maps [T, streams*(streams + 1)] = post, then res (step.mhc_read).}];
  let arguments = (ins Step_Float:$x, Step_Float:$v, Step_F32:$maps, I64Attr:$streams);
  let results = (outs Step_Float:$y);
}

def Step_MhcWriteGradOp : Step_GradOp<"mhc_write_grad", [Step_Cost]> {
  let summary = "d_x_i = sum_j res[j, i] d_y_j, d_v = sum_j post_j d_y_j, d_post_j = d_y_j . v, d_res[j, i] = d_y_j . x_i";
  let description = [{Shapes as in step.mhc_write.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$v, Step_F32:$maps, I64Attr:$streams);
  let results = (outs Step_Float:$d_x, Step_Float:$d_v, Step_F32:$d_maps);
}

#endif

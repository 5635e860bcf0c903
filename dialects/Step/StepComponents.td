// Embeddings of several ids of a token.
#ifndef MEGACC_STEPCOMPONENTS_TD
#define MEGACC_STEPCOMPONENTS_TD

include "dialects/Step/StepBase.td"

def Step_ComponentRowsOp : Step_ComputeOp<"component_rows", [CostOpInterface]> {
  let summary = "rows of the tables of several components, stacked in order";
  let description = [{
    Each of the components [batch, sequence] has a table of sizes[i] rows; ids [T, components] = the component clamped to its table, plus
    the rows of the tables before.
  }];
  let arguments = (ins Variadic<Step_I32>:$components, DenseI64ArrayAttr:$sizes);
  let results = (outs Step_I32:$ids);
}

def Step_WeightedPartsOp : Step_ComputeOp<"weighted_parts", [Step_Gradient, CostOpInterface]> {
  let summary = "y = sum over parts of weight[part] x[part]";
  let description = [{x [T, parts * cols], weight [parts], y [T, cols].}];
  let arguments = (ins Step_Float:$x, Step_Float:$weight);
  let results = (outs Step_Float:$y);
}

def Step_WeightedPartsGradOp : Step_GradOp<"weighted_parts_grad", [CostOpInterface]> {
  let summary = "d_x[part] = weight[part] d_y, d_weight[part] = sum over rows of d_y . x[part]";
  let description = [{Shapes as in step.weighted_parts.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$weight);
  let results = (outs Step_Float:$d_x, Step_F32:$d_weight);
}

#endif

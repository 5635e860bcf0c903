// Every launch of @micro_batch and @update must have been measured, by its kernel and integers; an evaluation need not.
// RUN: megacc-opt %s -rt-check-costs=costs=%S/Inputs/add.costs.json
// RUN: sed 's/16/8/' %S/Inputs/add.costs.json > %t.other.json
// RUN: not megacc-opt %s -rt-check-costs=costs=%t.other.json 2>&1 | FileCheck %s
// CHECK: has no time of 1 launches of this step (mg_add); fix: megacc-run --calibrate with this step, or --allow-missing-costs
// RUN: sed 's/"cpu"/"sm_90a"/' %S/Inputs/add.costs.json > %t.card.json
// RUN: not megacc-opt %s -rt-check-costs=costs=%t.card.json 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: was measured on target sm_90a, the step is for cpu
rt.segment "temporaries" bytes 256
rt.func @micro_batch {
  rt.call @mg_add(out temporaries[0 : 64] value 2, in temporaries[0 : 64] value 0, in temporaries[64 : 64] value 1)
      {count = 16} block 0 cost 0 192
}
rt.func @evaluate {
  rt.call @mg_add(out temporaries[0 : 16] value 2, in temporaries[0 : 16] value 0, in temporaries[64 : 16] value 1)
      {count = 4} block 0 cost 0 48
}

// RUN: megacc-opt %s -rt-to-llvm -verify-diagnostics
rt.segment "constants" bytes 16
// expected-error @+1 {{ends at byte 24, but constants have 16}}
rt.table <constants[8 : 16] i64> [1, 2]

// A function of more than 128 launches is cut up; an empty constants segment is one byte.
// RUN: sed "s/depth 8/depth 16/" %models/dense-tiny.mlir > %t.mlir
// RUN: megacc %t.mlir --emit=llvm | cut -c1-100 | FileCheck %s

// CHECK: @megacc_descriptor = constant [{{[0-9]+}} x i8] c"{\22abi\22:4,
// CHECK: @megacc_constants = constant [1 x i8] zeroinitializer
// CHECK-LABEL: define internal i32 @micro_batch_0(ptr %0)
// CHECK-LABEL: define internal i32 @micro_batch_1(ptr %0)
// CHECK-LABEL: define i32 @megacc_micro_batch(ptr %0)
// CHECK: call i32 @micro_batch_0(ptr %0)
// CHECK: br i1
// CHECK: call i32 @micro_batch_1(ptr %0)

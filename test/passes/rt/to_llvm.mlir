// Launches become stores into one MgLaunch and calls through the context; every status is checked.
// RUN: megacc-opt %s -rt-to-llvm | mlir-translate --mlir-to-llvmir | cut -c1-160 | FileCheck %s

rt.segment "weights" bytes 256
rt.segment "temporaries" bytes 512
rt.segment "io" bytes 1024
rt.segment "constants" bytes 24
rt.table <constants[8 : 16] i64> [258, -1]
rt.func @micro_batch {
  rt.call @mg_rms_norm(out temporaries[0 : 64] value 0, null, out temporaries[256 : 16] value 1, null, in io[0 : 64 + 256 m], null,
      in weights[0 : 8] bf16) {rows = 4, cols = 4, eps = 1.0e-05} on 1 block 0 cost 0 160
  rt.call @mg_rms_norm(out temporaries[64 : 64] value 2, null, out temporaries[272 : 16] value 3, null, in io[0 : 64 + 256 m], null,
      in weights[8 : 8] bf16) {rows = 4, cols = 4, eps = 1.0e-05} block 0 cost 0 160
}
rt.func @intervene.0 {
}

// CHECK: @megacc_descriptor = constant [{{[0-9]+}} x i8] c"{\22abi\22:4,
// The constants are laid down once, little-endian, and fill the segment.
// CHECK: @megacc_constants = constant [24 x i8] c"\00\00\00\00\00\00\00\00\02\01\00\00\00\00\00\00\FF\FF\FF\FF\FF\FF\FF\FF"
// Equal tables are one. Here are bytes, types (6: absent), integers and doubles.
// CHECK-NEXT: @[[BYTES:table_[0-9]+]] = internal constant [7 x i64] [i64 64, i64 0, i64 16, i64 0, i64 64, i64 0, i64 8]
// CHECK-NEXT: @[[TYPES:table_[0-9]+]] = internal constant [7 x i8] c"\00\06\00\06\00\06\01"
// CHECK-NEXT: @[[INTS:table_[0-9]+]] = internal constant [2 x i64] [i64 4, i64 4]
// CHECK-NEXT: @[[DOUBLES:table_[0-9]+]] = internal constant [1 x double] [double 1.000000e-05]
// CHECK-NOT: @table_

// CHECK-LABEL: define internal i32 @micro_batch_0(ptr %0)
// MgLaunch: operands, bytes, types, operand_count, ints, int_count, doubles, double_count, micro_batch, call_index, stream, context.
// CHECK: [[LAUNCH:%[0-9]+]] = alloca { ptr, ptr, ptr, i64, ptr, i64, ptr, i64, i64, i64, i64, ptr }
// CHECK: [[TO_BYTES:%[0-9]+]] = getelementptr {{.*}}, ptr [[LAUNCH]], i32 0, i32 1
// CHECK: [[TO_TYPES:%[0-9]+]] = getelementptr {{.*}}, ptr [[LAUNCH]], i32 0, i32 2
// CHECK: [[TO_INTS:%[0-9]+]] = getelementptr {{.*}}, ptr [[LAUNCH]], i32 0, i32 4
// CHECK: [[TO_DOUBLES:%[0-9]+]] = getelementptr {{.*}}, ptr [[LAUNCH]], i32 0, i32 6
// CHECK: [[TO_INDEX:%[0-9]+]] = getelementptr {{.*}}, ptr [[LAUNCH]], i32 0, i32 9
// CHECK: [[TO_STREAM:%[0-9]+]] = getelementptr {{.*}}, ptr [[LAUNCH]], i32 0, i32 10
// CHECK: [[TO_CONTEXT:%[0-9]+]] = getelementptr {{.*}}, ptr [[LAUNCH]], i32 0, i32 11
// MgContext: six segments, then micro_batch, then launch.
// CHECK: getelementptr { [6 x ptr], i64, ptr }, ptr %0, i32 0, i32 0, i32 5
// CHECK: [[M:%[0-9]+]] = load i64
// CHECK: store ptr %0, ptr [[TO_CONTEXT]]
// CHECK: [[CALL:%[0-9]+]] = load ptr

// CHECK: store ptr null
// CHECK: mul i64 [[M]], 256
// CHECK: store ptr @[[BYTES]], ptr [[TO_BYTES]]
// CHECK: store ptr @[[TYPES]], ptr [[TO_TYPES]]
// CHECK: store ptr @[[INTS]], ptr [[TO_INTS]]
// CHECK: store ptr @[[DOUBLES]], ptr [[TO_DOUBLES]]
// CHECK: store i64 0, ptr [[TO_INDEX]]
// CHECK: store i64 1, ptr [[TO_STREAM]]
// CHECK: [[STATUS:%[0-9]+]] = call i32 [[CALL]](ptr %0, ptr @mg_rms_norm, ptr [[LAUNCH]])
// CHECK: icmp ne i32 [[STATUS]], 0
// CHECK: br i1 {{.*}}, label %[[LEAVE:[0-9]+]], label

// Addresses are made once, and the launch before has left there what does not change.
// CHECK-NOT: ptr [[LAUNCH]], i32
// CHECK-NOT: store ptr @
// CHECK: store i64 1, ptr [[TO_INDEX]]
// CHECK-NEXT: store i64 0, ptr [[TO_STREAM]]
// CHECK-NEXT: [[NEXT:%[0-9]+]] = call i32 [[CALL]](ptr %0, ptr @mg_rms_norm, ptr [[LAUNCH]])
// CHECK: br i1 {{.*}}, label %[[LEAVE]], label
// CHECK: ret i32 0
// CHECK: phi i32 {{.*}}[ [[NEXT]], {{.*}}[ [[STATUS]],
// CHECK-NEXT: ret i32

// Every function is exported.
// CHECK-LABEL: define i32 @megacc_micro_batch(ptr %0)
// CHECK: call i32 @micro_batch_0(ptr %0)
// CHECK: br i1
// CHECK-LABEL: define i32 @megacc_intervene.0(ptr %0)
// CHECK-NEXT: ret i32 0
// CHECK-NEXT: {{^}}}

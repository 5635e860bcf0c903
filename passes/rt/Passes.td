// From one step to launches and machine code.
#ifndef MEGACC_PASSES_RT_TD
#define MEGACC_PASSES_RT_TD

include "mlir/Pass/PassBase.td"

def StepSelectKernels : Pass<"step-select-kernels", "::mlir::ModuleOp"> {
  let summary = "binds every launch to a record of lib/Kernels";
  let description = [{
    Sets the attribute `record` to the first record of the module's target that serves the op, or checks the one that is there. Errors
    list the families without any record, once, and for the others the nearest records with the field that failed.
  }];
}

def StepAssignBuffers : Pass<"step-assign-buffers", "::mlir::ModuleOp"> {
  let summary = "gives every value its bytes in the arena and turns ops into launches";
  let description = [{
    Needs a `record` on every launch. State first: weights, masters, gradients and moments share one element order (parameters by type and
    decay, untrained last, each padded to 128 elements), so the optimizer is a few linear sweeps. Then the lifetimes of lib/Lifetimes, with
    in-place reuse where the record allows it, and offsets for each function; the functions share the temporaries, whose size is the
    largest of their peaks.
  }];
  let dependentDialects = ["::megacc::rt::RtDialect"];
}

def RtCheckSchedule : Pass<"rt-check-schedule", "::mlir::ModuleOp"> {
  let summary = "proves from the launches alone that every read sees what was written";
  let description = [{
    Replays the functions over byte intervals: a range of temporaries that is read holds, whole, the value that its producer wrote; ranges
    of launches and state lie inside their segments at every micro-batch, and only those of io move; a launch's own operands overlap only
    where an output takes the place of an input exactly; of several sums into one gradient or metric the first overwrites and the others
    add; what is read of io is an input or has been written at this micro-batch; a gradient that is read has been written, by the function
    itself or, for @update, by @micro_batch; constants that are read are a table of the module, and nothing writes them. Weights and
    optimizer state are there from outside. Changes nothing.
  }];
}

def RtBuildReceipt : Pass<"rt-build-receipt", "::mlir::ModuleOp"> {
  let summary = "writes one row per slot: letter, family, launches by kernel, parameters, FLOPs, bytes";
  let description = [{
    A launch belongs to its slot: its path starts with the slot's, and the weights it reads are that block's or shared ones; otherwise an
    error. The receipt is the module attribute `megacc.receipt`.
  }];
}

def RtCheckCosts : Pass<"rt-check-costs", "::mlir::ModuleOp"> {
  let summary = "every launch of a step has a measured time";
  let description = [{
    Reads the file that `megacc-run --calibrate` wrote, of the module's target, and fails where it lacks a launch of @micro_batch or
    @update, by kernel and integer parameters. Changes nothing.
  }];
  let options = [Option<"costs", "costs", "std::string", "", "the file">];
}

def RtCheckMemory : Pass<"rt-check-memory", "::mlir::ModuleOp"> {
  let summary = "compares the planned bytes with the declared memory";
  let description = [{
    The error names every segment, the function that sets the peak, and the smallest `memory` that fits. Changes nothing.
  }];
}

def RtToLLVM : Pass<"rt-to-llvm", "::mlir::ModuleOp"> {
  let summary = "turns launches into code: entries, descriptor and constants of step.so";
  let description = [{
    Every rt.func is exported as megacc_NAME. Each is cut into functions of at most 128 launches (machine code generation is superlinear in
    their size). Every status is checked; the first that is not zero is returned. The descriptor names the kernel library of the module
    attribute `megacc.target`, "cpu" without one.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif

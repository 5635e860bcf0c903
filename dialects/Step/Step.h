// The training step as tensors.
#ifndef MEGACC_DIALECTS_STEP_STEP_H
#define MEGACC_DIALECTS_STEP_STEP_H

#include "dialects/Interfaces/Size.h"
#include "dialects/Interfaces/StepInterfaces.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Step/StepDialect.h.inc"
#include "dialects/Step/StepEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Step/StepAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/Step/StepOps.h.inc"

namespace megacc::step {

/// Names of the module's attributes.
constexpr llvm::StringLiteral kModelAttr = "megacc.model";
constexpr llvm::StringLiteral kTargetAttr = "megacc.target";
constexpr llvm::StringLiteral kConfigAttr = "megacc.config";
constexpr llvm::StringLiteral kDeclarationAttr = "megacc.declaration";
constexpr llvm::StringLiteral kSlotsAttr = "megacc.slots";
constexpr llvm::StringLiteral kCollectivesAttr = "megacc.collectives";
/// Names of the attributes of every op inside a function.
constexpr llvm::StringLiteral kBlockAttr = "block";
constexpr llvm::StringLiteral kPhaseAttr = "phase";
/// Marks of later phases: a forward op and its gradient ops share a number; the caches that step-plan-memory decided to keep; a forward op
/// whose results the backward computes again; the record of lib/Kernels that step-select-kernels bound.
constexpr llvm::StringLiteral kPairAttr = "pair";
constexpr llvm::StringLiteral kKeepAttr = "keep";
constexpr llvm::StringLiteral kRecomputeAttr = "recompute";
constexpr llvm::StringLiteral kRecordAttr = "record";

/// An entry of the module's megacc.config; `missing` without one.
int64_t getConfigInteger(mlir::Operation *op, llvm::StringRef key, int64_t missing = 0);
double getConfigDouble(mlir::Operation *op, llvm::StringRef key, double missing = 0.0);
llvm::StringRef getConfigText(mlir::Operation *op, llvm::StringRef key, llvm::StringRef missing = "");
/// The module's target, "cpu" where it says none.
llvm::StringRef getTarget(mlir::Operation *op);

/// The slot of an op, -1 outside blocks, and its phase (forward where it has none).
int64_t getBlock(mlir::Operation *op);
Phase getPhase(mlir::Operation *op);

/// Trained parameters of a group: whether there are any, and their elements where each starts at a multiple of 128 and the group ends at
/// one.
bool hasGroup(mlir::ModuleOp module, Group group);
/// Groups of trained parameters, in the order of their layout.
constexpr Group kTrainedGroups[] = {Group::f32_decays, Group::f32_plain, Group::bf16_decays,
                                    Group::bf16_plain, Group::muon_f32,  Group::muon_bf16};
int64_t getPaddedElements(mlir::ModuleOp module, Group group);
/// Whether the weights of a group are bf16, beside masters.
inline bool isNarrow(Group group) { return group == Group::bf16_decays || group == Group::bf16_plain || group == Group::muon_bf16; }
/// Parameters of a group whose gradients owe sums over the same axes, in the order of their layout. Their update is shared by the `ranks`
/// ranks of the mesh axes with bits 1 << axis of `axes`, which have data of their own, where the module's config says `zero`.
struct Sweep {
  Group group;
  int64_t owes = 0, axes = 0, ranks = 1;
  llvm::SmallVector<ParameterOp> parameters;

  /// Elements of parameters that end there, and of the padding behind them.
  int64_t pad(int64_t elements) const;
  /// Elements of all parameters and of their padding.
  int64_t getElements();
  /// "*GROUP.OWES", the name of its state.
  std::string getName() const;
  /// Ranks of the axes before one: it cuts what they have left to this rank.
  int64_t getAxesBefore(int64_t axis) const { return axes & ((int64_t(1) << axis) - 1); }
};
/// The sweeps of a group, in the order of their layout: those that owe nothing first.
llvm::SmallVector<Sweep> getSweeps(mlir::ModuleOp module, Group group);
/// The one that owes just these sums; an empty one where there is none.
Sweep findSweep(mlir::ModuleOp module, Group group, int64_t owes);
/// Ranks of the mesh axes with bits 1 << axis of `axes`, all together.
int64_t countRanks(mlir::ModuleOp module, int64_t axes);
/// Numbers of an entry of a parameter's `pieces`.
constexpr size_t kPieceNumbers = 6;
/// Elements to a multiple of which every parameter is padded.
constexpr int64_t kParameterAlignment = 128;

/// Size of a dimension of a tensor value, and its number of elements.
int64_t getDim(mlir::Value value, unsigned dim);
int64_t getCount(mlir::Value value);
/// Elements of a tensor type, the largest number where 64 bits cannot hold them.
Size getElements(mlir::Type type);
/// Bytes of a tensor type.
int64_t getBytes(mlir::Type type);
/// The f32 tensor of a value's shape: the gradient of a parameter.
mlir::RankedTensorType getF32Like(mlir::Value value);

/// An error on the op, "NAME is tensor<...>, expected 2 x 3", unless the value has this shape.
mlir::LogicalResult expectShape(mlir::Operation *op, llvm::StringRef name, mlir::Value value, llvm::ArrayRef<int64_t> shape);
/// The same, for the shape of another value.
mlir::LogicalResult expectLike(mlir::Operation *op, llvm::StringRef name, mlir::Value value, mlir::Value other);
/// An error unless `cached` names each of the caches, once.
mlir::LogicalResult verifyCaches(mlir::Operation *op, mlir::ArrayAttr cached, mlir::ValueRange caches);
/// Adds each cache under its name.
void addCaches(KernelQuery &query, mlir::ArrayAttr cached, mlir::ValueRange caches);
/// Effects of an op whose only effect is to write these metrics, null ones excepted.
void getFlagEffects(std::initializer_list<mlir::StringAttr> flags,
                    llvm::SmallVectorImpl<mlir::SideEffects::EffectInstance<mlir::MemoryEffects::Effect>> &effects);

/// Whether a function is @update, or one of what some steps do after it.
bool runsOnceAStep(FuncOp func);

/// Whether a value made by one of the ops needs memory of its own where they are one launch: it is used outside them, or nowhere.
bool isVisible(mlir::Value value, llvm::ArrayRef<mlir::Operation *> ops);

/// The query of ops that one kernel shall serve, as step.fused asks it: values used by the ops alone are left out.
KernelQuery getFusedQuery(llvm::ArrayRef<mlir::Operation *> ops);

/// Marks every accumulation of a function but the first of each parameter with `adds`.
void markAccumulations(FuncOp func);

} // namespace megacc::step

#endif

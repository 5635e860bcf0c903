// Op interfaces of the training step.
#ifndef MEGACC_DIALECTS_INTERFACES_STEPINTERFACES_H
#define MEGACC_DIALECTS_INTERFACES_STEPINTERFACES_H

#include "dialects/Interfaces/KernelQuery.h"
#include "dialects/Interfaces/OpCost.h"
#include "dialects/Interfaces/ShardingRule.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"

#include "dialects/Interfaces/StepInterfaces.h.inc"

#endif

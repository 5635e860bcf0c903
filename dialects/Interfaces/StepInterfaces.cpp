//===- StepInterfaces.cpp -------------------------------------------------===//
#include "dialects/Interfaces/StepInterfaces.h"

#include "dialects/Interfaces/StepInterfaces.cpp.inc"

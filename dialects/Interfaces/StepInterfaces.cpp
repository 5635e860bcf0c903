// The interfaces of the training step.
#include "dialects/Interfaces/StepInterfaces.h"

#include "dialects/Interfaces/StepInterfaces.cpp.inc"

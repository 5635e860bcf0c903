// All ops of the step dialect.
#ifndef MEGACC_STEPOPS_TD
#define MEGACC_STEPOPS_TD

include "dialects/Step/StepStructure.td"
include "dialects/Step/StepInterventions.td"
include "dialects/Step/StepDense.td"
include "dialects/Step/StepAttention.td"
include "dialects/Step/StepLoss.td"
include "dialects/Step/StepExperts.td"
include "dialects/Step/StepM2rnn.td"
include "dialects/Step/StepMamba3.td"
include "dialects/Step/StepDeltanet.td"
include "dialects/Step/StepSparse.td"
include "dialects/Step/StepTokens.td"
include "dialects/Step/StepMesh.td"
include "dialects/Step/StepEngram.td"
include "dialects/Step/StepComponents.td"
include "dialects/Step/StepBank.td"
include "dialects/Step/StepStraightness.td"
include "dialects/Step/StepStreams.td"
include "dialects/Step/StepDepth.td"

#endif

// A step.so without a model: its functions move numbers of the io segment around with mg_copy. StepTest.cpp puts a descriptor in.
#include "test/runtime/FakeStep.h"
#include "megacc/StepABI.h"

extern "C" int32_t mg_copy(const MgLaunch *);

extern "C" {
extern const char megacc_descriptor[1 << 15];
extern const unsigned char megacc_constants[256];
const char megacc_descriptor[1 << 15] = "@descriptor@";
const unsigned char megacc_constants[256] = {1, 2, 3};
}

namespace {

int32_t copy(MgContext *context, int64_t call, int64_t to, int64_t from, int64_t bytes) {
  char *io = static_cast<char *>(context->segments[MG_IO]);
  void *operands[] = {io + to, io + from};
  const int64_t sizes[] = {bytes, bytes}, ints[] = {bytes / 4};
  const uint8_t types[] = {MG_F32, MG_F32};
  MgLaunch launch = {.operands = operands,
                     .bytes = sizes,
                     .types = types,
                     .operand_count = 2,
                     .ints = ints,
                     .int_count = 1,
                     .doubles = nullptr,
                     .double_count = 0,
                     .micro_batch = context->micro_batch,
                     .call_index = call,
                     .stream = MG_COMPUTE,
                     .context = context};
  return context->launch(context, mg_copy, &launch);
}

} // namespace

using namespace fake_step;

/// hidden = tokens
extern "C" int32_t megacc_micro_batch(MgContext *context) {
  int64_t slot = context->micro_batch * stride;
  return copy(context, 0, hidden + slot, tokens + slot, 4 * micro_batch * sequence);
}

/// loss = lr, grad_norm = 1 - beta1^t, invalid = the first target
extern "C" int32_t megacc_update(MgContext *context) {
  if (int32_t status = copy(context, 0, loss, scalars, 4))
    return status;
  if (int32_t status = copy(context, 1, grad_norm, scalars + 4, 4))
    return status;
  return copy(context, 2, invalid, targets, 4);
}

/// loss_sum = the first two scalars, count = the last two
extern "C" int32_t megacc_evaluate(MgContext *context) {
  if (int32_t status = copy(context, 0, loss_sum, scalars, 8))
    return status;
  return copy(context, 1, count, scalars + 4, 8);
}

/// Reads outside the io segment.
extern "C" int32_t megacc_overrun(MgContext *context) { return copy(context, 0, 0, io_bytes, 4); }

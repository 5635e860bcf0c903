// Rows of experts between ranks: on cards not yet.
#include "runtime/core/Launch.h"

using namespace megacc::runtime;

extern "C" {

int32_t mg_exchange_rows(const MgLaunch *) {
  return mg_fail("mg_exchange_rows: cards do not share experts yet; fix: --target=cpu, or ep = 1");
}

int32_t mg_return_rows(const MgLaunch *) { return mg_fail("mg_return_rows: cards do not share experts yet; fix: --target=cpu, or ep = 1"); }
}

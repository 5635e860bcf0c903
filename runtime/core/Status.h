// How a kernel reports an error across the C ABI: a status and a message of the calling thread.
#pragma once
#include <cstdint>

extern "C" {
/// Records a printf-style message and returns 1.
int32_t mg_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// The last message recorded on this thread, or "".
const char *mg_last_error();
}

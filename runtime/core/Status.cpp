#include "runtime/core/Status.h"

#include <cstdarg>
#include <cstdio>

static thread_local char message[1024];

int32_t mg_fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return 1;
}

const char *mg_last_error() { return message; }

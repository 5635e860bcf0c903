/* consumer STEP: 0 where the file ends as a compiled step does. */
#include <megacc/StepABI.h>
#include <stdio.h>
#include <string.h>

_Static_assert(EXPECTED_ABI_VERSION == MEGACC_ABI_VERSION, "the package and its header are of one release");

int main(int argc, char **argv) {
  char end[sizeof MEGACC_TRAILER] = "";
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!file || fseek(file, -(long)strlen(MEGACC_TRAILER), SEEK_END) != 0 ||
      fread(end, 1, strlen(MEGACC_TRAILER), file) != strlen(MEGACC_TRAILER)) {
    fprintf(stderr, "cannot read a step\n");
    return 1;
  }
  fclose(file);
  return strcmp(end, MEGACC_TRAILER) == 0 ? 0 : 1;
}

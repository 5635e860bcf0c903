/* Prints the operands of the first kernel of a target: consumer LIBRARY. */
#include <dlfcn.h>
#include <megacc/StepABI.h>
#include <stdio.h>

_Static_assert(EXPECTED_ABI_VERSION == MEGACC_ABI_VERSION, "the package and its header are of one release");

int main(int argc, char **argv) {
  void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
  if (!library) {
    fprintf(stderr, "cannot open: %s\n", argc == 2 ? dlerror() : "no library is named");
    return 1;
  }
  const MgTarget *(*find)(void) = (const MgTarget *(*)(void))dlsym(library, "mg_target");
  if (!find)
    return 1;
  printf("ABI %d, %s(%s)\n", find()->abi, find()->kernels[0].name, find()->kernels[0].signature);
  return find()->abi == MEGACC_ABI_VERSION ? 0 : 1;
}

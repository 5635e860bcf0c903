#!/usr/bin/env bash
# check.sh [--long]: installs what is missing, builds everything and runs every test. --long goes on with the linter, the suite under
# AddressSanitizer and UndefinedBehaviorSanitizer, the runtime under ThreadSanitizer, and a minute of every fuzz target.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
case ${*:-} in
  '') steps=5 ;;
  --long) steps=13 ;;
  *) echo "error: check.sh does not know '$*'; fix: ./tools/check.sh or ./tools/check.sh --long" >&2; exit 1 ;;
esac

PACKAGES+=(libclang-rt-22-dev clang-format-22 clang-tidy-22 chromium) # the browser, for the test of reports, is 122 MB
install_packages 1/$steps
configure_and_build release 2/$steps 3/$steps
step 4/$steps "testing"
ctest --preset release
step 5/$steps "formatting"
./tools/lint --format
[ $steps -gt 5 ] || exit 0

step 6/$steps "linting"
./tools/lint
configure_and_build asan 7/$steps 8/$steps
step 9/$steps "testing under AddressSanitizer and UndefinedBehaviorSanitizer"
ctest --preset asan
runtime_tests='kernel-tests core-tests cpu-tests data-tests state-tests step-tests train-tests'
configure_and_build tsan 10/$steps 11/$steps $runtime_tests fake_step megacc-run
step 12/$steps "testing the runtime under ThreadSanitizer"
ln -sf ../../build/bin/megacc build-tsan/bin/megacc # it compiles what the runtime runs
ctest --preset tsan
step 13/$steps "fuzzing, a minute each"
for target in declaration pattern tokens safetensors descriptor; do
  ./test/fuzz/fuzz.sh build-asan/bin/fuzz-$target -max_total_time=60 -timeout=60
done

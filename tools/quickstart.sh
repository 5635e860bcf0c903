#!/usr/bin/env bash
# From a fresh Debian 12 to a trained model: installs, builds, compiles models/dense-tiny.mlir and trains it on the C++ headers
# of this machine. Leaves everything in out/quickstart.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

OUT=out/quickstart
HEADERS=$(ls -d /usr/include/c++/* 2>/dev/null | sort -V | tail -n 1 || true)
install_packages 1/5
[ -n "$HEADERS" ] || HEADERS=$(ls -d /usr/include/c++/* | sort -V | tail -n 1)
configure_and_build 2/5 3/5 megacc megacc-run megacc_cpu
mkdir -p "$OUT"
step 4/5 "compiling models/dense-tiny.mlir"
build/bin/megacc models/dense-tiny.mlir -o "$OUT/dense-tiny.so"
build/bin/megacc models/dense-tiny.mlir --emit=stack
step 5/5 "training on $HEADERS"
build/bin/megacc-run "$OUT/dense-tiny.so" --data "$HEADERS" --steps 300 --out "$OUT"

#!/usr/bin/env bash
# From a fresh Debian 12 to a trained model: installs, builds, compiles models/nam56r-tiny.mlir and trains it on the C++ standard
# library's headers.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

model=nam56r-tiny out=out/nam56r-tiny
install_packages 1/5
configure_and_build release 2/5 3/5 megacc megacc-run
step 4/5 "compiling models/$model.mlir"
mkdir -p out
build/bin/megacc models/$model.mlir -o out/$model.so
build/bin/megacc models/$model.mlir --emit=stack
step 5/5 "training it on /usr/include/c++ (a few minutes; Ctrl-C keeps a checkpoint, running this again goes on)"
headers=$(ls -d /usr/include/c++/[0-9]* | sort -V | tail -n 1)
if [ -e $out/checkpoint.safetensors ]; then where=(--resume $out); else where=(--out $out); fi
build/bin/megacc-run out/$model.so --data "$headers" --checkpoint-every 20 "${where[@]}"

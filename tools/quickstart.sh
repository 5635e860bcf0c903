#!/usr/bin/env bash
# From a fresh Debian 12 to a checked declaration: installs, builds, and shows the stack and the plan of two models.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_packages 1/4
configure_and_build 2/4 3/4 megacc megacc-opt
step 4/4 "models/dense-tiny.mlir, block by block, and the plan of models/nam56r.mlir"
build/bin/megacc models/dense-tiny.mlir --emit=stack
echo
build/bin/megacc models/nam56r.mlir --emit=plan
echo
echo "megacc is build/bin/megacc; lowering and training are not supported yet"

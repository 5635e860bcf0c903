#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_packages 1/4
configure_and_build 2/4 3/4
step 4/4 "testing"
ctest --test-dir build --output-on-failure --timeout 900

#!/usr/bin/env bash
# Installs what the build needs and builds a preset of CMakePresets.json. Sourced by quickstart.sh and check.sh; run again it does only what
# is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PACKAGES=(cmake ninja-build g++-12 libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools clang-22 lld-22 liblld-22-dev
          libdnnl-dev libcli11-dev nlohmann-json3-dev libxxhash-dev libgtest-dev libopenmpi-dev openmpi-bin python3 python3-numpy)

step() { printf '\n[%s] %s\n' "$1" "$2"; }

# install_packages STEP: Debian packages, with the size of the download before it starts.
install_packages() {
  local missing=() package sudo=
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then step "$1" "packages: all ${#PACKAGES[@]} are installed"; return; fi
  step "$1" "packages: installing ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "error: installing packages needs root and there is no sudo here" >&2
      echo "fix: ask an administrator to run: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
    sudo=sudo
  fi
  if ! $sudo apt-get update -qq; then
    echo "error: the package lists could not be fetched" >&2
    echo "fix: check the network, or install by other means: ${missing[*]}; then run this again" >&2
    exit 1
  fi
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --print-uris "${missing[@]}" 2>/dev/null |
    awk "/^'/ {n += \$3} END {printf \"  to download: %.0f MB\\n\", n / 1e6}"
  if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 \
    "${missing[@]}" >build-install.log 2>&1; then
    tail -n 20 build-install.log >&2
    echo "error: installing failed; the whole log is build-install.log" >&2
    echo "fix: MLIR 22 comes from Debian 12's security repository; see that it is among the sources" >&2
    exit 1
  fi
  echo "  installed: ${missing[*]}"
}

# configure_and_build PRESET STEP STEP [target...]
configure_and_build() {
  local preset=$1 configure=$2 build=$3 folder=build; shift 3
  [ "$preset" = release ] || folder=build-$preset
  step "$configure" "configuring $folder/ (log: $folder/configure.log)"
  mkdir -p "$folder"
  if ! cmake --preset "$preset" >"$folder/configure.log" 2>&1; then
    cat "$folder/configure.log" >&2; exit 1
  fi
  step "$build" "building $folder/"
  NINJA_STATUS='  [%f/%t %es] ' ninja -C "$folder" "$@"
}

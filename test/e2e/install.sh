#!/usr/bin/env bash
# install.sh BUILD SOURCE COMPILER READELF: what cmake --install writes works from a folder that was moved, also for find_package(megacc).
set -euo pipefail
build=$1 source=$2 compiler=$3 readelf=$4 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fail() { echo "$1"; exit 1; }
cmake --install "$build" --prefix "$work/first" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/moved"
cd "$work"

# No file names a folder that the installed one may not depend on, and no program or library looks there.
! grep -rIlF -e "$work/first" -e "$build" moved || fail "these name the folder of the build or the first place"
for file in moved/bin/*; do
  ! "$readelf" -d "$file" | grep -E 'R(UN)?PATH' | grep -F "$build" || fail "$file: looks into the folder of the build"
done

# As a person: only what is in the folder, and the system's libraries.
run() {
  env -i PATH="$work/moved/bin:/usr/bin:/bin" HOME="$work" "$@" >"$work/log" 2>&1 || { echo "$*: exit status $?"; cat "$work/log"; exit 1; }
}
for program in megacc megacc-run; do
  run $program --version
  grep -q '^  cpu  *x86-64-v[34], oneDNN' "$work/log" ||
    { cat "$work/log"; fail "$program --version does not say which products it takes"; }
  cmp <(env -i "$work/moved/bin/$program" --man) moved/share/man/man1/$program.1
  cmp <(env -i "$work/moved/bin/$program" --completion) moved/share/bash-completion/completions/$program
done
run megacc "$source/models/dense-tiny.mlir" -o step.so --micro-batch 1
run megacc inspect step.so
run megacc-run step.so --data "$source/models" --steps 2 --out trained --verify
[ -s trained/checkpoint.safetensors ] || fail "there is no checkpoint"
for program in megacc-opt megacc-lsp-server megacc-reduce; do run $program --help; done

# As a project.
run cmake -S "$here/install" -B project -G Ninja -DCMAKE_C_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$work/moved" \
  -DMODEL="$source/models/dense-tiny.mlir"
run cmake --build project
cmp step.so project/step.so
run project/consumer project/step.so
echo "installed, moved, run and found"

#!/usr/bin/env bash
# Every mistake: a non-zero exit, the expected words, no output file.
set -u
bin=$1 here=$(cd "$(dirname "$0")" && pwd); models=$here/../../models
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
status=0

# refuses NAME OUTPUT WORDS COMMAND...: the command fails, says WORDS and leaves no OUTPUT.
refuses() {
  local name=$1 output=$2 words=$3; shift 3
  if "$@" >"$work/log" 2>&1; then echo "$name: was accepted"; status=1; fi
  grep -qiE -- "$words" "$work/log" || { echo "$name: expected '$words', got:"; cat "$work/log"; status=1; }
  [ ! -e "$output" ] || { echo "$name: left $output behind"; status=1; }
}

# declares NAME SED WORDS: dense-tiny edited by SED is refused.
declares() {
  sed -E "$2" "$models/dense-tiny.mlir" >"$work/$1.mlir"
  refuses "$1" "$work/$1.so" "$3" "$bin/megacc" "$work/$1.mlir" -o "$work/$1.so"
}
declares unknown-letter 's/"AF"/"A1F"/' ':3:18: error'
declares unbound-letter 's/"AF"/"AFQ"/' ':3:19: error'
declares unknown-key 's/kv_heads/kv_head/' 'kv_heads'
declares float 's/3\.0e-3/3e-3/' '3\.0e-3'
declares missing 's/, head_dim = 32//' 'head_dim'
declares indivisible 's/kv_heads = 2/kv_heads = 3/' 'kv_heads'
declares other-model 's/of @dense_tiny/of @dense_tony/' 'dense_tony'
declares eps-zero 's/lr = [0-9.e-]+/&, eps = 0.0/' "'eps' is 0.*fix: at least"
declares infinite-rate 's/lr = [0-9.e-]+/lr = 1.0e+300/' "'lr' of 'adamw' must not be negative or above 3.4e38"
declares deep-pattern "s/\"AF\"/\"$(printf '(%.0s' {1..20000})AF\"/" 'more than 64 groups inside each other'
declares huge-pattern "s/\"AF\"/\"$(for i in {1..400}; do printf '(A)x1048576'; done)\"/" 'the pattern expands to more than 4096 blocks'
refuses no-such-model "$work/none" '--model nope: .* declares @dense_tiny' "$bin/megacc" "$models/dense-tiny.mlir" --model nope --emit=plan

"$bin/megacc" "$models/dense-tiny.mlir" -o "$work/step.so" || exit 1
cp "$work/step.so" "$work/changed.so"; printf '\x01' | dd of="$work/changed.so" bs=1 seek=4096 conv=notrunc 2>/dev/null
refuses changed-byte "$work/o" 'hash' "$bin/megacc-run" "$work/changed.so" --data "$models" --steps 1 --out "$work/o"
refuses no-data "$work/o" 'no such|missing|not found|cannot' "$bin/megacc-run" "$work/step.so" \
  --data "$work/nothing" --steps 1 --out "$work/o"
printf 'short' >"$work/short.txt"
refuses short-data "$work/o" 'sequence' "$bin/megacc-run" "$work/step.so" --data "$work/short.txt" --steps 1 --out "$work/o"
python3 -c "import sys; sys.stdout.buffer.write(bytes([1, 0] * 500 + [44, 1] + [1, 0] * 500))" >"$work/big.bin"
refuses token-too-large "$work/o" '300' "$bin/megacc-run" "$work/step.so" --data "$work/big.bin" \
  --token-type uint16 --steps 1 --out "$work/o"

# What is not a regular file is written to, not replaced; texts are not executable.
mkfifo "$work/pipe"
cat "$work/pipe" >"$work/piped" &
"$bin/megacc" "$models/dense-tiny.mlir" -o "$work/pipe" || { echo "a pipe was refused"; status=1; }
wait
[ -p "$work/pipe" ] && cmp -s "$work/piped" "$work/step.so" || { echo "a pipe was replaced or got other bytes"; status=1; }
"$bin/megacc" "$models/dense-tiny.mlir" --emit=plan -o "$work/plan.txt" && [ ! -x "$work/plan.txt" ] ||
  { echo "a text is executable"; status=1; }
exit $status

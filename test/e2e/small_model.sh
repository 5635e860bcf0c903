# For scripts that train a small hybrid model in many ways: they source it after refuses.sh, with `bin`, `here` and `work`.
mkdir "$work/text"
for i in {10..24}; do
  head -c $((900 + i)) "$here/../../models/nam56r.mlir" | tail -c 800 >"$work/text/$i"
done
# compile NAME TRAINING: NAME.so.
compile() {
  cat >"$work/$1.mlir" <<END
mega.model @small hidden 32 vocab 256 sequence 32 {
  mega.pattern "AEM" depth 3
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 8>
  mega.family "E" = moe<experts = 3, top_k = 1, width = 24, shared = 16, activation = swiglu>
  mega.family "M" = mamba3<expand = 2, head_dim = 16, state = 8, groups = 2, rank = 2, chunk = 16>
}
mega.train @step of @small { micro_batch = 2, $2 }
END
  "$bin/megacc" "$work/$1.mlir" -o "$work/$1.so" || fail "$1 does not compile"
}
run() { "$bin/megacc-run" "$@" --data "$work/text" >"$work/log" 2>&1 || { cat "$work/log"; fail "megacc-run $*"; }; }
same() { cmp "$1/checkpoint.safetensors" "$2/checkpoint.safetensors" || fail "$3: other bits"; }

#!/usr/bin/env bash
# sidecars.sh BIN: steps that take documents, components and spans train on token files with sidecars: the same bits at any number of
# threads and after an interruption, every launch as the receipt says. What the data lacks or has wrong is refused by its name.
set -euo pipefail
bin=$1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fail() { echo "$1"; cat "$work/log"; exit 1; }
# refuses NAME WORDS COMMAND...: the command fails, says WORDS and writes no folder.
refuses() {
  local name=$1 words=$2; shift 2
  ! "$@" >"$work/log" 2>&1 || fail "$name: was accepted"
  grep -qE -- "$words" "$work/log" || fail "$name: expected '$words'"
  [ ! -e "$work/o" ] || fail "$name: left a folder behind"
}
cat >"$work/placed.mlir" <<'END'
mega.model @placed hidden 32 vocab 256 sequence 24 {
  mega.pattern "ACF" depth 4
  mega.family "A" = attention<heads = 2, head_dim = 8>
  mega.family "C" = concept<concepts = 5, heads = 4>
  mega.family "F" = mlp<width = 32>
  mega.place ngram_hash<orders = [2], heads = 2, rows = 101, dim = 4> on input
  mega.place structure<components = "dep_level, ast_node_type", dim = 8, sizes = [6]> on input
  mega.place engram<orders = [2, 3]> on "A" ranks [0]
  mega.place engram<orders = [4], dim = 5, gated = true, sqrt_gate = true, conv = 3> on "A" ranks [1]
  mega.place stp<layers = [0, 2], spans = 3, start = 2> on objective
  mega.place mtp<depth = 1, width = 16> on objective
}
mega.train @step of @placed { micro_batch = 3, accumulate = 2, optimizer = adamw<lr = 1.0e-3> }
END
python3 - "$work" <<'END'
import array, random, sys
random.seed(1)
for name, count in (("a", 900), ("b", 400)):
    write = lambda column, code, values: open(f"{sys.argv[1]}/{name}{column}.bin", "wb").write(array.array(code, values))
    write("", "H", [random.randrange(256) for _ in range(count)])
    write(".documents", "i", [place // 17 for place in range(count)])
    write(".dep_level", "B", [random.randrange(6) for _ in range(count)])
    write(".ast_node_type", "H" if name == "a" else "B", [random.randrange(200) for _ in range(count)])
END
"$bin/megacc" "$work/placed.mlir" --documents -o "$work/step.so"
both=(--data "$work/a.bin" "$work/b.bin" --token-type uint16)
run() { "$bin/megacc-run" "$work/step.so" "${both[@]}" "$@" >"$work/log" 2>&1 || fail "$*: failed"; }
run --steps 6 --out "$work/whole" --verify --threads 1
run --steps 6 --out "$work/threads" --threads 3
cmp "$work/whole/checkpoint.safetensors" "$work/threads/checkpoint.safetensors"
run --steps 4 --out "$work/resumed"
run --steps 6 --resume "$work/resumed"
cmp "$work/whole/checkpoint.safetensors" "$work/resumed/checkpoint.safetensors"
# The term is there from the step after `start` on.
python3 - "$work/whole/metrics.jsonl" <<'END'
import json, sys
terms = [line["loss.stp"] for line in map(json.loads, open(sys.argv[1])) if "loss.stp" in line]
assert len(terms) == 6 and terms[:2] == [0, 0] and all(0 < term < 0.1 for term in terms[2:]), terms
END

trains() {
  local name=$1 words=$2; shift 2
  refuses "$name" "$words" "$bin/megacc-run" "$work/step.so" --token-type uint16 --steps 1 --out "$work/o" "$@"
}
mkdir "$work/bytes"; cp "$work/placed.mlir" "$work/bytes"
refuses bytes-have-no-components "lacks the input 'structure.dep_level' of the step: there is no .*placed.dep_level.bin" \
  "$bin/megacc-run" "$work/step.so" --data "$work/bytes" --steps 1 --out "$work/o"
grep -q "lacks the input 'structure.ast_node_type'" "$work/log" || fail "only one missing column was named"
mv "$work/b.ast_node_type.bin" "$work/moved"
trains one-file-lacks-a-column \
  "lacks the input 'structure.ast_node_type' of the step: there is no .*/b.ast_node_type.bin; fix: write these files \(of C\+\+ sources" \
  --data "$work/a.bin" "$work/b.bin"
head -c 399 "$work/moved" >"$work/b.ast_node_type.bin"
trains short-column 'b.ast_node_type.bin: has 399 bytes for the 400 tokens of b.bin, expected 400 \(uint8\) or 800' --data "$work/b.bin"
mv "$work/moved" "$work/b.ast_node_type.bin"
head -c 400 /dev/zero | tr '\0' '\6' >"$work/b.dep_level.bin"
trains id-out-of-range "b.dep_level.bin: id 6 at position [0-9]+ is outside the 6 ids that the model has for 'dep_level'; fix: declare" \
  --data "$work/b.bin"
refuses sampling-without-components "sampling has no values for the input 'structure.dep_level'" \
  "$bin/megacc-run" "$work/step.so" --sample 3 --prompt ab --resume "$work/whole"
# Relations: chunks of documents, a table for each; the same bits at any number of threads, and what is wrong with the files.
sed '/mega.place/d; s/^  mega.family "A".*/&\n  mega.place relation_bias<relations = 4, chunks = 3> on "A" ranks [0, 1]/' \
  "$work/placed.mlir" >"$work/related.mlir"
python3 - "$work" <<'END'
import array, random, sys
random.seed(2)
for name, count in (("a", 900), ("b", 400)):
    chunks, bits = array.array("B"), array.array("i")
    for begin in range(0, count, 17):
        size = random.randrange(4)
        chunks.extend(sorted(random.choice([*range(size), 255]) for _ in range(min(17, count - begin))))
        bits.extend([size, *(random.randrange(32) for _ in range(size * size))])
    open(f"{sys.argv[1]}/{name}.relation.chunk.bin", "wb").write(chunks)
    open(f"{sys.argv[1]}/{name}.relation.bits.bin", "wb").write(bits)
END
"$bin/megacc" "$work/related.mlir" --documents -o "$work/step.so"
run --steps 3 --out "$work/related" --verify --threads 1
run --steps 3 --out "$work/related-3" --threads 3
cmp "$work/related/checkpoint.safetensors" "$work/related-3/checkpoint.safetensors"
python3 - "$work/related/checkpoint.safetensors" <<'END'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", data[:8])[0]
entry = json.loads(data[8:8 + size])["blocks.0.relation_bias.weight"]
first, last = (8 + size + place for place in entry["data_offsets"])
assert entry["shape"] == [2, 4] and any(data[first:last]), "the bias did not learn"
END
mv "$work/b.relation.chunk.bin" "$work/moved"
trains no-chunks "relation.chunk is missing: blocks.0 has a relation_bias, and there is no .*/b.relation.chunk.bin" --data "$work/b.bin"
mv "$work/moved" "$work/b.relation.chunk.bin"; mv "$work/b.relation.bits.bin" "$work/moved"
trains no-bits "relation.bits is missing: blocks.0 has a relation_bias, and there is no .*/b.relation.bits.bin" --data "$work/b.bin"
cp "$work/moved" "$work/b.relation.bits.bin"; printf '\0\0\0\0' >>"$work/b.relation.bits.bin"
trains long-bits 'b.relation.bits.bin: has [0-9]+ bytes, the tables of the 24 documents of b.bin end after [0-9]+; fix' --data "$work/b.bin"
head -c 40 "$work/moved" >"$work/b.relation.bits.bin"
trains short-bits 'b.relation.bits.bin: the table of document [0-9]+ of 24 begins at byte [0-9]+ with' --data "$work/b.bin"
mv "$work/moved" "$work/b.relation.bits.bin"
refuses sampling-without-relations "sampling has no values for the input 'relation.chunk'" \
  "$bin/megacc-run" "$work/step.so" --sample 3 --prompt ab --resume "$work/related"
# Documents that nobody takes are said once.
sed '/structure/d' "$work/placed.mlir" >"$work/plain.mlir"
"$bin/megacc" "$work/plain.mlir" -o "$work/plain.so"
"$bin/megacc-run" "$work/plain.so" "${both[@]}" --steps 2 --out "$work/plain" >"$work/log" 2>&1 || fail plain
said=$(grep -c 'has documents, which the step does not take; fix: compile it with --documents' "$work/log") || true
[ "$said" = 1 ] || fail "documents: said $said times"

#!/usr/bin/env bash
# prepare_cpp.sh SOURCE BIN: the columns that tools/prepare-cpp writes are those of the innermost node around every byte, asked for byte by
# byte, and of the includes; a model with every component trains on them. Exit status 77 where the grammar cannot be installed.
set -euo pipefail
source=$1 bin=$2
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/tree" "$work/tree/deep"
cat >"$work/tree/a.h" <<'END'
  // A comment before everything.
#include "deep/b.h"
#include <vector>
namespace n {
template <typename T> struct Pair { T first, second = T(1 + 2); };
int twice(int x) { if (x > 0) { return 2 * x; } return "text"[0]; }
}
struct User { n::Pair<int> pair; int run() { return n::twice(1); } };
END
printf '#include <c.h>\nenum E { one, two };\n' >"$work/tree/deep/b.h"
printf 'class C;\n#include "a.h"\n' >"$work/tree/c.h" # a cycle
printf '\0' >"$work/tree/binary"
: >"$work/tree/empty"
for i in 1 2 3 4 5; do echo "int x$i;" >"$work/tree/x$i.h"; done
"$source/tools/prepare-cpp" "$work/tree" "$work/out" >"$work/log" 2>&1 ||
  { if grep -q 'pip could not install' "$work/log"; then echo "skipped: nothing can be installed"; exit 77; fi; cat "$work/log"; exit 1; }
grep -q '1 files with zero bytes are left out' "$work/log" || { cat "$work/log"; exit 1; }

"$source/build/prepare-venv/bin/python" - "$work" <<'END'
import array, sys
import tree_sitter, tree_sitter_cpp
work = sys.argv[1]
language = tree_sitter.Language(tree_sitter_cpp.language())
kinds = sorted({language.node_kind_for_id(i) for i in range(language.node_kind_count)
                if language.node_kind_is_named(i) and language.node_kind_is_visible(i)})
# binary, empty, and the eighth file, x3.h, are no part of it.
names = ['a.h', 'c.h', 'deep/b.h', 'x1.h', 'x2.h', 'x4.h', 'x5.h']
def column(part, name, code='B'):
    return array.array(code, open(f'{work}/out/{part}/cpp{name}.bin', 'rb').read())
tokens, documents = column('train', '', 'H'), column('train', '.documents', 'i')
columns = [column('train', '.' + name) for name in ('structure', 'dep_level', 'ast_depth', 'sibling_index', 'ast_node_type')]
texts = [open(f'{work}/tree/{name}', 'rb').read() for name in names]
assert bytes(list(tokens)) == b''.join(texts), 'tokens'
assert [len(own) for own in columns] == [len(tokens)] * 5
begin, ids = 0, []
for name, text in zip(names, texts):
    root = tree_sitter.Parser(language).parse(text).root_node
    ids.append(documents[begin])
    assert set(documents[begin:begin + len(text)]) == {ids[-1]}, 'documents'
    level = {'a.h': 2, 'deep/b.h': 1}.get(name, 0)
    for place in range(len(text)):
        structure, dep_level, depth, sibling, kind = (own[begin + place] for own in columns)
        where = f'{name}, byte {place}, {text[place:place + 1]}'
        assert dep_level == level, f'{where}: level {dep_level}, expected {level}'
        node = root.named_descendant_for_byte_range(place, place + 1)
        if place < root.start_byte or place >= root.end_byte:
            assert (structure, depth, sibling, kind) == (0, 0, 0, 0), where
            continue
        above = []
        while node.parent and not node.is_named:
            node = node.parent
        outer = node
        while outer.parent:
            outer = outer.parent
            above.append(outer)
        assert depth == len(above), f'{where}: depth {depth}, expected {len(above)}'
        assert kind == 1 + kinds.index(node.type), f'{where}: kind {kinds[kind - 1]}, expected {node.type}'
        siblings = above[0].named_children if above else [root]
        assert siblings[sibling] == node, f'{where}: sibling {sibling}'
    begin += len(text)
assert ids == sorted(set(ids)), ids
# What some words of a.h are.
for word, expected in ((b'// A', 1), (b'#include', 2), (b'namespace', 3), (b'template', 3), (b'struct', 4), (b'twice', 5), (b'if', 6),
                       (b'return', 6), (b'second', 7), (b'1 +', 8), (b'"text"', 8)):
    got = columns[0][texts[0].index(word)]
    assert got == expected, f'{word} is {got}, expected {expected}'
# Chunks and what holds between them: of a.h the preamble, Pair, twice, User and User::run; of other files the preamble, and E of b.h.
chunk, bits = column('train', '.relation.chunk'), column('train', '.relation.bits', 'i')
assert len(chunk) == len(tokens)
for word, expected in ((b'// A', 0), (b'template', 0), (b'struct Pair', 1), (b'1 + 2', 1), (b'twice', 2), (b'text', 2), (b'}\nstruct', 0),
                       (b'struct User', 3), (b'int run', 4), (b'twice(1)', 4), (b'};\n', 1)):
    got = chunk[texts[0].index(word)]
    assert got == expected, f'{word} is in chunk {got}, expected {expected}'
assert chunk[texts[0].rindex(b'};')] == 3 and chunk[texts[0].rindex(b';')] == 0
assert bits[0] == 5
table = [list(bits[1 + 5 * i:6 + 5 * i]) for i in range(5)]
assert [table[i][i] for i in range(5)] == [1 | 32] * 5, table
assert table[4][2] == 2 | 64 and table[2][4] == 4 | 64, table  # run calls twice
assert table[3][1] == 8 | 64 and table[1][3] == 16 | 64, table  # User names Pair
assert table[1][2] == table[2][1] == table[3][4] == table[4][3] == 32, table
assert table[0] == [33, 160, 160, 192, 192] and [row[0] for row in table] == [33, 288, 288, 320, 320], table
at, sizes = 0, []
while at < len(bits):
    sizes.append(bits[at])
    at += 1 + sizes[-1] ** 2
assert sizes == [5, 1, 2, 1, 1, 1, 1] and at == len(bits), sizes
assert bytes(list(column('held_out', '', 'H'))) == b'int x3;\n'
END

cat >"$work/model.mlir" <<'END'
mega.model @placed hidden 16 vocab 256 sequence 16 {
  mega.pattern "FA" depth 2
  mega.family "F" = mlp<width = 16>
  mega.family "A" = attention<heads = 2, head_dim = 8>
  mega.place structure<components = "all", dim = 8> on input
  mega.place relation_bias<> on "A" ranks [0]
}
mega.train @step of @placed { micro_batch = 2, optimizer = adamw<lr = 1.0e-3> }
END
"$bin/megacc" "$work/model.mlir" --documents -o "$work/step.so"
"$bin/megacc-run" "$work/step.so" --data "$work/out/train" --token-type uint16 --steps 2 --out "$work/run" >"$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }

# The preset with every placement learns from a part of the C++ standard library.
headers=$(ls -d /usr/include/c++/[0-9]* | tail -n 1)/bits
"$source/tools/prepare-cpp" "$headers" "$work/headers" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$bin/megacc" "$source/models/nam56r-tiny-full.mlir" -o "$work/full.so"
"$bin/megacc-run" "$work/full.so" --data "$work/headers/train" --eval-data "$work/headers/held_out" --steps 12 --verify \
  --out "$work/full" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
python3 - "$work/full/metrics.jsonl" <<'END'
import json, sys
losses = [entry["loss"] for entry in map(json.loads, open(sys.argv[1])) if "loss" in entry]
assert len(losses) == 12 and losses[-1] < losses[0] - 1, losses
END

# refuses WORDS COMMAND...: it fails, says so and leaves nothing.
refuses() {
  local words=$1; shift
  ! "$@" >"$work/log" 2>&1 || { echo "accepted: $*"; exit 1; }
  grep -q -- "$words" "$work/log" || { echo "expected: $words"; cat "$work/log"; exit 1; }
}
refuses 'out is there already' "$source/tools/prepare-cpp" "$work/tree" "$work/out"
refuses 'nothing is not a folder' "$source/tools/prepare-cpp" "$work/nothing" "$work/other"
mkdir "$work/hollow"
refuses 'hollow has no files' "$source/tools/prepare-cpp" "$work/hollow" "$work/other"
# A copy with a build folder of its own, which cannot reach an index of packages.
mkdir -p "$work/copy/build" && cp -r "$source/tools" "$work/copy"
export PIP_INDEX_URL=http://127.0.0.1:9/simple PIP_RETRIES=0 PIP_TIMEOUT=1 PIP_NO_CACHE_DIR=1 PIP_CONFIG_FILE=/dev/null
refuses 'pip could not install tree-sitter==.*' "$work/copy/tools/prepare-cpp" "$work/tree" "$work/other"
grep -q 'fix: check that PyPI can be reached' "$work/log" || { cat "$work/log"; exit 1; }
[ ! -e "$work/other" ] || { echo "a folder was left behind"; exit 1; }

#!/usr/bin/env python3
"""run.py BIN [NAME...]: the gallery of bad inputs, all of them or those named.

Each [[input]] of the .toml files beside this one is a command that somebody gets wrong. It runs in its own copy of a small working folder.
It must exit non-zero by itself (no signal, no assertion, no stack trace), say every expression of `says` and how to fix it, and leave the
folder as it was. The folder holds:
  m.mlir           a small model
  step.so          that model, compiled
  text/            eight files to train on
  run/             the folder of a run of four steps
  good.bin         2000 tokens of uint16
  good.safetensors two small tensors
  tmp/             where temporary files go

Keys:
  name
  command          bash, with BIN in its PATH; make.py beside this file can be imported
  declaration      a text for bad.mlir, or
  edit             pairs of texts, the second of which replaces the first in m.mlir for it; then there is a default command
  before           prepares the folder, as command
  says             Python regular expressions
  remedy           where a message says what to do in other words than REMEDY, or what is wrong and no more
  leaves           what a run that was under way may leave
"""
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import make

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
MODEL = (HERE / "m.mlir").read_text()
REMEDY = re.compile(r"fix: |did you mean|known: |known are |must be |expected |needs |--help|go together|give one of them")
CRASH = re.compile(r"assertion|stack dump|backtrace|segmentation|terminate called|core dumped|std::|Sanitizer|runtime error:", re.I)
UNREADABLE = re.compile(r"[0-9]{40,}|<unknown>")
LONGEST = 3000  # characters that a person may be asked to read


def make_folder(folder, environment):
    (folder / "m.mlir").write_text(MODEL)
    (folder / "text").mkdir()
    for index in range(8):
        make.write(folder / "text" / f"{index}.txt", f"the quick brown fox {index} jumps over the lazy dog\n".encode() * 20)
    make.write(folder / "good.bin", b"".join((i * 7 % 256).to_bytes(2, "little") for i in range(2000)))
    tensors = {"a": make.tensor("F32", [2], 0, 8), "b": make.tensor("I64", [1], 8, 16)}
    make.write(folder / "good.safetensors", make.safetensors(tensors, bytes(16)))
    (folder / "tmp").mkdir()
    for command in ["megacc m.mlir -o step.so", "megacc-run step.so --data text --steps 4 --out run"]:
        subprocess.run(["bash", "-c", command], cwd=folder, env=environment, check=True, capture_output=True)


def manifest(folder):
    entries = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(about.st_mode) else ""
        entries[str(path.relative_to(folder))] = (stat.filemode(about.st_mode), content)
    return entries


def declared(case):
    if "declaration" in case:
        return case["declaration"]
    text = MODEL
    for old, new in zip(case["edit"][::2], case["edit"][1::2], strict=True):
        assert text.count(old) == 1, f"{case['name']}: {old!r} is not once in m.mlir"
        text = text.replace(old, new)
    return text


def check(case, template, bin_folder, work):
    """What is wrong with the answer to one input, a line each, and the answer."""
    folder = work / re.sub(r"[^a-z0-9]+", "-", case["name"].lower())
    shutil.copytree(template, folder, symlinks=True)
    environment = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "HOME": str(folder), "TMPDIR": str(folder / "tmp"), "LC_ALL": "C",
                   "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if "declaration" in case or "edit" in case:
        (folder / "bad.mlir").write_bytes(declared(case).encode("utf-8", "surrogateescape"))
        case.setdefault("command", "megacc bad.mlir -o bad.so")
    if "before" in case:
        subprocess.run(["bash", "-c", case["before"]], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    before = manifest(folder)
    done = subprocess.run(["bash", "-c", case["command"]], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    text, after, wrong = done.stdout.decode(errors="replace"), manifest(folder), []
    if done.returncode == 0:
        wrong.append("was accepted")
    elif not 0 < done.returncode < 126:
        wrong.append(f"ended with status {done.returncode}")
    wrong += [f"says '{found.group()}'" for pattern in (CRASH, UNREADABLE) if (found := pattern.search(text))]
    wrong += [f"does not say '{words}'" for words in case["says"] if not re.search(words, text)]
    if not re.search(case.get("remedy", REMEDY), text):
        wrong.append("does not say how to fix it")
    if len(text) > LONGEST:
        wrong.append(f"says {len(text)} characters")
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path) and path not in case.get("leaves", []):
            wrong.append(f"{'changed' if path in before and path in after else 'removed' if path in before else 'left'} {path}")
    shutil.rmtree(folder)
    return wrong, text


def main():
    bin_folder, names = Path(sys.argv[1]).resolve(), sys.argv[2:]
    cases = [case for table in sorted(HERE.glob("*.toml")) for case in tomllib.loads(table.read_text())["input"]]
    all_names = [case["name"] for case in cases]
    assert len(set(all_names)) == len(all_names), f"twice: {sorted(name for name in all_names if all_names.count(name) > 1)}"
    cases = [case for case in cases if not names or case["name"] in names]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="gallery-") as place:
        work = Path(place)
        template = work / "template"
        template.mkdir()
        make_folder(template, {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"})
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            fixes = 0
            for case, (wrong, text) in zip(cases, pool.map(lambda case: check(case, template, bin_folder, work), cases)):
                if names or wrong:
                    print(f"{case['name']}\n  $ {case['command']}", *(f"  | {line[:200]}" for line in text.splitlines()[:20]), sep="\n")
                for line in wrong:
                    print(f"FAILED  {case['name']}: {line}")
                failed += bool(wrong)
                fixes += "fix: " in text
    print(f"{len(cases) - failed} of {len(cases)} bad inputs are refused as they should be; {fixes} say \"fix: \"")
    sys.exit(failed > 0 or not cases)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes the golden cases of test/e2e/goldens: whole training steps in float64, stored as float32. Needs numpy.

  make_golden.py CASE...            makes CASE.safetensors from CASE.mlir, both in test/e2e/goldens; refuses to replace one
  make_golden.py --check [CASE...]  makes them in memory and compares them with the files: names, order and types, inputs, parameters and
                                    initial values to the bit, computed numbers within two roundings to float32; exits with 1 if one differs

A new case is a new .mlir. Its `seed` fixes inputs and parameters; a case where a router's pick hangs on rounding is refused and needs
another seed. Tensors of a case (A micro-batches of B rows of S tokens):

  input.tokens, input.targets, input.documents    int32 [A,B,S]; documents where the declaration says `documents = true`
  input.structure.NAME    int32 [A,B,S]  the components of a structure embedding, some of them outside their table
  input.relation.chunk, input.relation.bits    int32 [A,B,S] and [A,B,chunks,chunks], where a block has a relation_bias
  ngram_rows       int64 [A,B,S,tables]  the rows of the n-gram tables, where there are such tables
  stp_spans        int64 [A,spans,3]  the spans of the first step, where the declaration has stp
  param.KEY        parameters and router biases before the step: random everywhere, so that no zero or one hides a mistake
  hidden.SLOT      [A,B,S,D]  the residual stream after each block, first step
  picks.SLOT       int64 [A,experts]  how often each expert was picked, first step
  loss.TERM        [3]  of three steps on the same inputs, means over micro-batches; `total` is the sum of the weighted terms,
                   mtp.1, mtp.2, ... are the losses of each depth before weighting
  grad_norm        [3]
  grad.KEY         gradients of the first step before clipping
  param1.KEY, param3.KEY    parameters after one and after three steps
  m1.KEY, m3.KEY, v1.KEY, v3.KEY    moments after one and after three steps, of cases about the optimizer; Muon's matrices have no v
  round.in, round.m, round.v        where moments are bf16: float32 numbers, and int32 [64] the bits of each as element 0, 1, ... of m and
                   of v of the first parameter in the first step
  initial.KEY      first and last eight elements of the initial values that the declaration's seed gives, all where there are at most 16
"""
import argparse
import json
import struct
import sys
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compare import load_safetensors
from declaration import read_declaration
from interventions import SMALLEST_MARGIN as SMALLEST_VERDICT, Interventions
from model import MicroBatch, drawn_spans, ngram_rows, run_micro_batches
from optimizer import Optimizer, draws_of, rounded_bits
from parameters import Table, initial_value, initial_values

GOLDENS = Path(__file__).resolve().parent.parent / "goldens"
STEPS = 3
SMALLEST_MARGIN = 1e-4  # of the picks of a router or an indexer

# Lengths of the documents of packed cases: row b of micro-batch a takes entry a + b.
DOCUMENTS = {"hybrid_docs": [[9, 1, 3, 9], [22], [2, 20]], "siso_docs": [[7, 1, 2, 9], [19]],
             "mesh_hybrid": [[9, 1, 5, 9], [24], [2, 22]],
             "engrams": [[1, 2, 7, 3], [13], [4, 1, 8]], "concept_docs": [[5, 6], [1, 10]], "stp_docs": [[3, 11], [14], [2, 5, 7]],
             "dsa_share": [[9, 1, 3, 9], [22], [2, 20]],
             "layer_scale": [[4, 9], [13], [1, 12]],
             "mhc_families": [[5, 1, 7], [13]], "mod_docs": [[4, 1, 6], [11]], "streams_placed": [[6, 7], [13]],
             "gdn_packed": [[9, 1, 11, 8], [29]], "gdn_docs": [[16, 1, 2, 18], [33, 4], [37]], "mesh_gdn": [[9, 1, 5, 9], [24], [2, 22]],
             "packed_documents": [[9, 1, 11, 3], [24]], "relation_bias": [[13, 7], [20]], "layer_scale_state_gate": [[10, 14], [24]],
             "mesh_gates": [[9, 1, 5, 7], [22], [2, 20]], "gates_docs": [[6, 1, 10, 4], [21], [19, 2]]}


def ignore_some_targets(name, targets, random):
    """Marks targets that do not count. Two cases are about nothing else."""
    if name == "all_ignored":
        targets[:] = -1
    elif name == "ignored":  # all, most and none of a micro-batch, by both numbers in use
        targets[0] = -1
        targets[1, :, 3:] = -100
    else:
        targets[random < 0.06] = -1


def random_inputs(model, generator):
    shape = (model.train.accumulate, model.train.micro_batch, model.sequence)
    text = generator.integers(0, model.vocab, (*shape[:2], model.sequence + 1))
    for place in range(5, model.sequence + 1, 3):  # repeats some tokens, so that n-grams recur
        text[:, :, place] = text[:, :, place - 3 + place % 2]
    inputs = {"tokens": text[..., :-1].copy(), "targets": text[..., 1:].copy()}
    ignore_some_targets(model.name, inputs["targets"], generator.random(shape))
    if model.name in DOCUMENTS:
        lengths = DOCUMENTS[model.name]
        rows = [np.repeat(5 + np.arange(len(row)) % 2, row) for row in lengths]  # ids alternate: runs count, not ids
        ids = np.array([[rows[(micro + row) % len(rows)] for row in range(shape[1])] for micro in range(shape[0])])
        inputs["targets"][..., :-1][ids[..., 1:] != ids[..., :-1]] = -1
        inputs["documents"] = ids
    for name, size in model.structure.sizes.items() if model.structure else ():
        inputs["structure." + name] = generator.integers(-1, size + 2, shape)
    for chunks in {placed["relation_bias"].chunks for placed in model.placed if "relation_bias" in placed}:
        inputs["relation.chunk"] = np.sort(generator.integers(-1, chunks + 1, shape), -1)  # -1 and `chunks`: in none
        tables = (*shape[:2], chunks, chunks)
        inputs["relation.bits"] = generator.integers(0, 2 ** 10, tables) & generator.integers(0, 2 ** 10, tables)
    return inputs


def random_parameter(key, parameter, noise, seed):
    """Values that make every parameter matter: near the initial value where that has a meaning, else activations of order one."""
    kind, initial = parameter.initial[0], initial_value(key, parameter, seed)
    spread = noise / np.sqrt(parameter.shape[-1])
    if key in ("embedding.weight", "ngram_hash.table.weight", "structure.table.weight"):
        return 0.1 * noise  # small, so that epsilon of the first norms shows
    if key.endswith(("q_down.weight", "kv_down.weight", "indexer.k_proj.weight")):
        return 0.1 * spread
    if key.endswith("router.weight"):
        return 2 * spread
    if key.endswith("state_gate.bias"):
        return 1 + 0.5 * noise  # gates between open and shut
    if key.endswith("router.bias"):
        return 0.1 * noise
    if kind == "mhc":
        return initial + 0.25 * noise
    if kind in ("dt_bias", "a_log"):
        return initial + 0.2 * noise
    if kind == "identity":
        return initial + 0.1 * noise
    if kind == "constant" and (len(parameter.shape) == 1 or ("proj" not in key and "value" not in key)):
        return initial + 0.25 * noise
    return spread


def random_parameters(model, generator):
    values = {}
    for key, parameter in Table(model).items():
        values[key] = random_parameter(key, parameter, generator.standard_normal(parameter.shape), model.train.seed)
    for slot, family in enumerate(model.blocks):
        if family.kind == "mamba3":
            sharpen_mamba3(family, values[f"blocks.{slot}.mixer.in_proj.weight"])
        if family.kind == "gated_deltanet":  # epsilon shows in the lengths of q and k
            values[f"blocks.{slot}.mixer.in_proj.weight"][:2 * family.key_heads * family.key] *= 0.1
        if family.kind == "moe" and family.router == "sigmoid" and family.nulls:
            values[f"blocks.{slot}.mixer.router.bias"][-1] = 0  # the null expert's stays 0
    return {key: value.astype(np.float32).astype(np.float64) for key, value in values.items()}


def sharpen_mamba3(family, weight):
    """Scales rows so that epsilon shows in the norms of B, C and y, and the first head's decay meets its floor."""
    inner, packed = family.inner, 2 * family.groups * family.state * family.rank
    weight[2 * inner:2 * inner + packed] *= 0.125
    if family.out_norm:
        weight[inner:2 * inner] *= 0.03125
    if family.decay == "softplus":
        weight[2 * inner + packed + family.heads] *= 16


def rounded_numbers(model, key):
    """Numbers of every size, and their bits as the first elements of the moments of a parameter."""
    numbers = np.random.default_rng(1).standard_normal(64).astype(np.float32) * np.float32(10) ** np.arange(-40, 24).astype(np.float32)
    draws = draws_of(model, key, 1, len(numbers))
    return {"round.in": numbers, "round.m": rounded_bits(numbers, draws).astype(np.int32),
            "round.v": rounded_bits(numbers, draws >> np.uint64(16)).astype(np.int32)}


def make_case(declaration):
    """Name -> array of everything a golden file holds."""
    model = read_declaration(declaration.read_text())
    generator = np.random.default_rng(model.train.seed)
    inputs = random_inputs(model, generator)
    values = random_parameters(model, generator)
    case = {f"input.{name}": value.astype(np.int32) for name, value in inputs.items()}
    micro_batches = [{name: value[micro] for name, value in inputs.items()} for micro in range(model.train.accumulate)]
    if model.ngram_hash:
        rows = [ngram_rows(model.ngram_hash, MicroBatch(**arrays)) for arrays in micro_batches]
        case["ngram_rows"] = np.stack(rows).reshape(*inputs["tokens"].shape, -1)
    if model.stp and model.sequence > 2:
        case["stp_spans"] = np.stack([drawn_spans(model, 0, micro) for micro in range(model.train.accumulate)])
    optimizer, losses, norms, states, moments = Optimizer(model), [], [], [values], [{}]
    interventions = Interventions(model, optimizer)
    for step in range(STEPS):
        loss, gradients, batches = run_micro_batches(model, states[-1], micro_batches, step)
        updated, norm = optimizer.update(states[-1], gradients, batches)
        updated = interventions.apply(updated, gradients, batches)
        margin = min((margin for batch in batches for margin in batch.margins), default=1.0)
        if margin < SMALLEST_MARGIN:
            raise SystemExit(f"error: {declaration}: a picked and a rejected expert or key are {margin:.1e} apart, "
                             f"a case needs {SMALLEST_MARGIN}; fix: another seed")
        if step == 0:
            first_gradients, first_batches = gradients, batches
        losses.append(loss)
        norms.append(norm)
        states.append(updated)
        moments.append(dict(optimizer.moments))
    if interventions.margin < SMALLEST_VERDICT:
        raise SystemExit(f"error: {declaration}: the activity of a unit is {interventions.margin:.1e} from the threshold, "
                         f"a case needs {SMALLEST_VERDICT}; fix: another seed")
    case |= {f"param.{key}": value for key, value in values.items()}
    case |= {f"hidden.{slot}": np.stack([batch.hidden[slot] for batch in first_batches]) for slot in range(model.depth)}
    case |= {f"picks.{slot}": np.stack([batch.picks[f"blocks.{slot}."] for batch in first_batches])
             for slot, family in enumerate(model.blocks) if family.kind == "moe"}
    case |= {f"loss.{term}": np.array([loss[term] for loss in losses]) for term in losses[0]}
    case["grad_norm"] = np.array(norms)
    case |= {f"grad.{key}": value for key, value in first_gradients.items()}
    case |= {f"param{step}.{key}": value for step in (1, STEPS) for key, value in states[step].items()}
    if model.optimizer.kind != "adamw" or model.train.moments != "fp32" or model.train.interventions:
        for step in (1, STEPS):
            case |= {f"{'mv'[power - 1]}{step}.{key}": value for (key, power), value in moments[step].items()}
    if model.train.moments == "bf16":
        case |= rounded_numbers(model, next(iter(values)))
    for key, value in initial_values(model).items():
        flat = value.reshape(-1)
        case[f"initial.{key}"] = flat if flat.size <= 16 else np.concatenate([flat[:8], flat[-8:]])
    return {name: value if value.dtype.kind == "i" else value.astype(np.float32) for name, value in case.items()}


def save_safetensors(path, tensors):
    types = {"float32": "F32", "int32": "I32", "int64": "I64"}
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": types[tensor.dtype.name], "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "xb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(tensor.tobytes() for tensor in tensors.values()))


def differences(golden, mine):
    """What differs, in words. Computed numbers may be two units in the last place of their tensor's largest apart, or of the case's largest
    gradient where a gradient is zero but for rounding: float64 sums of another order round to another float32."""
    if list(golden) != list(mine):
        odd = set(golden) ^ set(mine)
        return [f"names differ: {', '.join(sorted(odd))}" if odd else "the order of the tensors differs"]
    found = []
    scale = max(np.abs(value).max() for name, value in golden.items() if name.startswith("grad."))
    for name, expected in golden.items():
        got, group = mine[name], name.split(".")[0]
        if (got.dtype, got.shape) != (expected.dtype, expected.shape):
            found.append(f"{name}: {got.dtype}{list(got.shape)} instead of {expected.dtype}{list(expected.shape)}")
        elif group in ("input", "ngram_rows", "stp_spans", "param", "picks", "initial", "round"):
            if not np.array_equal(got, expected):
                found.append(f"{name}: {np.count_nonzero(got != expected)} of {expected.size} elements differ")
        else:
            limit = 2.0 ** -22 * max(np.abs(expected).max(initial=0), 1e-6 * scale)
            error = np.abs(got.astype(np.float64) - expected).max(initial=0)
            if not error <= limit:
                found.append(f"{name}: {error:.1e} apart, limit {limit:.1e}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    options = parser.parse_args()
    if not options.cases and not options.check:
        parser.error("name a case to make, or give --check")
    names = options.cases or sorted(path.stem for path in GOLDENS.glob("*.mlir"))
    unknown = [name for name in names if not (GOLDENS / f"{name}.mlir").exists()]
    if unknown:
        raise SystemExit(f"error: there is no {', '.join(str(GOLDENS / name) + '.mlir' for name in unknown)}")
    failed = 0
    for name in names:
        file = GOLDENS / f"{name}.safetensors"
        if not options.check:
            if file.exists():
                raise SystemExit(f"error: {file} exists; fix: remove it if it is to be made again")
            save_safetensors(file, make_case(GOLDENS / f"{name}.mlir"))
            print(file)
            continue
        golden, mine = load_safetensors(file), make_case(GOLDENS / f"{name}.mlir")
        found = differences(golden, mine)
        equal = sum(np.array_equal(golden[key], mine[key]) for key in golden if key in mine)
        print(f"{name:18} {'FAILED' if found else 'ok'}, {equal} of {len(golden)} tensors equal to the bit")
        for line in found:
            print("  " + line)
        failed += bool(found)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

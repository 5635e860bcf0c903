"""Reads the declarations that golden cases use: a model, its pattern, families, placements and training step, all on known lines."""
import math
import re
from types import SimpleNamespace

FAMILIES = {
    "mla": {"theta": 1e4, "gate": "none"},
    "attention": {"kv_heads": None, "rope": None, "theta": 1e4, "gate": "none"},
    "moe": {"shared": 0, "activation": "gelu", "router": "softmax", "aux": 1e-4, "z": 0.0, "scale": 1.0, "bias_rate": 1e-3, "density": 1.0,
            "shared_gate": False},
    "mlp": {"activation": "gelu"},
    "mamba3": {"expand": 2, "head_dim": 64, "state": 128, "groups": 1, "rank": 4, "chunk": 16, "variant": "mimo", "rope_fraction": 0.5,
               "decay": "softplus", "out_norm": False, "state_gate": False},
    "m2rnn": {"key": 64, "value": 16, "heads": None, "conv": 4},
    "gated_deltanet": {"key_heads": None, "conv": 4, "chunk": 64, "neg_eigval": False},
    "concept": {"concepts": 64, "heads": 4},
}
PLACEMENTS = {
    "dsa": {"kl": 0.0, "share": 1},
    "nope": {"share": 1.0},
    "relation_bias": {"relations": 9, "chunks": 64},
    "ngram_hash": {"orders": [2, 3], "heads": 8, "rows": 500000, "dim": 16, "seed": 0},
    "structure": {"components": "core", "dim": 64, "sizes": []},
    "engram": {"orders": [2, 3, 4], "dim": None, "gated": False, "sqrt_gate": False, "conv": 0, "conv_residual": True},
    "stp": {"layers": None, "spans": 4, "weight": 0.05, "start": 10000},
    "mhc": {"streams": 4, "sinkhorn": 5},
    "mod": {"capacity": 0.5, "aux": 0.01},
    "mtp": {"depth": 1, "width": None, "activation": "gelu", "weight": 0.1, "block": "A"},
}
NORMS = {"rms": {}, "dyt": {"alpha": 0.5, "attention_alpha": None}}
COMPONENTS = {"structure": 9, "dep_level": 16, "ast_depth": 64, "sibling_index": 64, "ast_node_type": 256}
TRAINING = {"micro_batch": None, "accumulate": 1, "seed": 0, "clip": 1.0, "documents": False, "precision": "fp32", "moments": "fp32"}
WHEN = {"at": [], "every": 0, "start": 0, "stop": 0, "on": ["*"], "except": []}
INTERVENTIONS = {"fire": {"iterations": 10, "scale": "norm", "moments": "reset"},
                 "dash": {"rule": "clamp", "floor": 0.3, "rate": 0.01, "margin": 0.05, "direction": "moment", "moments": "keep"},
                 "redo": {"tau": 0.025, "tokens": 4096}}
OPTIMIZERS = {"adamw": {"lr": None, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "decay": 0.1}}
OPTIMIZERS["muon"] = {**OPTIMIZERS["adamw"], "momentum": 0.95, "nesterov": True, "iterations": 5, "rms": 0.2, "split": "segments",
                      "except": []}


def read_value(text):
    if text.startswith("["):
        return [read_value(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d*(e[-+]?\d+)?", text):
        return float(text)
    return {"true": True, "false": False}.get(text, text.strip('"'))


def read_keys(text, defaults, kind):
    given = {key: read_value(value) for key, value in re.findall(r'(\w+) = (\[[^]]*\]|"[^"]*"|[\w.+-]+)', text)}
    return SimpleNamespace(kind=kind, **{**defaults, **given})


def read_variants(text):
    """The norm of the residual, and what the scales of the layers start at, 0 without."""
    norm = re.search(r"\bnorm (\w+)(?:<(.*?)>)?", text)
    scale = re.search(r"\blayer_scale (\S+)", text)
    norm = read_keys(norm[2] or "", NORMS[norm[1]], norm[1]) if norm else SimpleNamespace(kind="rms")
    if norm.kind == "dyt" and norm.attention_alpha is None:
        norm.attention_alpha = norm.alpha
    return norm, read_value(scale[1]) if scale else 0.0


def expand_pattern(pattern, depth):
    """One letter per slot; a pattern without stage bars tiles over the depth."""
    pattern = pattern.replace(" ", "").upper()
    while "(" in pattern:
        pattern = re.sub(r"\(([^()]*)\)X(\d+)", lambda group: group[1] * int(group[2]), pattern)
    letters = pattern.replace("|", "")
    return [letters[slot % len(letters)] for slot in range(depth)]


def complete(family, hidden):
    """Sizes that follow from others."""
    if family.kind == "attention":
        family.kv_heads = family.kv_heads or family.heads
        family.rope = family.head_dim if family.rope is None else family.rope
    if family.kind == "mamba3":
        family.inner = family.expand * hidden
        family.heads = family.inner // family.head_dim
        family.angles = family.state // (4 if family.rope_fraction == 0.5 else 2)
    if family.kind == "m2rnn":
        family.heads = family.heads or hidden // (family.key + family.value)
    if family.kind == "gated_deltanet":
        family.key_heads = family.key_heads or family.heads
    if family.kind == "moe":
        density = family.density
        family.nulls = max(1, int(family.experts * (1 - density) / density)) if density < 1 else 0
        family.slots = math.ceil(family.top_k / density)
    return family


def component_sizes(structure):
    """Rows of the table of each component in use, in their fixed order."""
    names = structure.components.replace(" ", "").split(",")
    names = {"core": list(COMPONENTS)[:2], "all": list(COMPONENTS)}.get(structure.components, names)
    used = [name for name in COMPONENTS if name in names]
    return {name: structure.sizes[index] if index < len(structure.sizes) else COMPONENTS[name] for index, name in enumerate(used)}


def place_on_blocks(text, letters, hidden):
    """For every slot, its placements by kind. A placement names ranks among the slots of its letter."""
    placed = [{} for _ in letters]
    for kind, keys, letter, ranks in re.findall(r'mega\.place (\w+)<(.*)> on "(\w)" ranks \[(.*)\]', text):
        slots = [slot for slot, own in enumerate(letters) if own == letter]
        for order, rank in enumerate(sorted(int(rank) for rank in ranks.split(","))):
            placement = read_keys(keys, PLACEMENTS[kind], kind)
            if kind == "engram":
                placement.dim = placement.dim or hidden // 4
            placement.order = order  # among the blocks of its placement
            placed[slots[rank]][kind] = placement
    return placed


def read_declaration(text):
    """The model: sizes, `norm`, `layer_scale`, `blocks` (the family of each slot), `placed` (the placements of each), `placements` of the
    input and the objective by kind, `train` and `optimizer`."""
    head = re.search(r"mega\.model @(\w+) hidden (\d+) vocab (\d+) sequence (\d+) ([^{]*)\{", text)
    model = SimpleNamespace(name=head[1], hidden=int(head[2]), vocab=int(head[3]), sequence=int(head[4]))
    model.norm, model.layer_scale = read_variants(head[5])
    families = {letter: complete(read_keys(keys, FAMILIES[kind], kind), model.hidden)
                for letter, kind, keys in re.findall(r'mega\.family "(\w)" = (\w+)<(.*)>', text)}
    on_model = re.findall(r"mega\.place (\w+)<(.*)> on [io]", text)
    model.placements = {kind: read_keys(keys, PLACEMENTS[kind], kind) for kind, keys in on_model}
    pattern, depth = re.search(r'mega\.pattern "(.*)" depth (\d+)', text).groups()
    model.depth = int(depth)
    letters = expand_pattern(pattern, model.depth)
    model.letters = letters
    model.blocks, model.placed = [families[letter] for letter in letters], place_on_blocks(text, letters, model.hidden)
    for kind in ("ngram_hash", "structure", "mtp", "stp"):
        setattr(model, kind, model.placements.get(kind))
    if model.structure:
        model.structure.sizes = component_sizes(model.structure)
    if model.mtp:
        width = model.mtp.width or 4 * model.hidden
        model.mtp.blocks = [families[model.mtp.block], SimpleNamespace(kind="mlp", width=width, activation=model.mtp.activation)]
    step = text[text.index("mega.train"):]
    listed = re.search(r"interventions = \[(.*)\]\s*\}", step, re.S)
    settings = step.replace(listed[0], "") if listed else step
    optimizer = re.search(r"(adamw|muon)<(.*?)>", settings)
    model.train = read_keys(settings.replace(optimizer[0], ""), TRAINING, "train")
    model.train.interventions = [read_keys(keys, {**WHEN, **INTERVENTIONS[kind]}, kind)
                                 for kind, keys in re.findall(r"(fire|dash|redo)<(.*?)>", listed[1] if listed else "")]
    for rule in model.train.interventions:
        rule.exceptions = getattr(rule, "except")
    model.optimizer = read_keys(optimizer[2], OPTIMIZERS[optimizer[1]], optimizer[1])
    model.optimizer.exceptions = getattr(model.optimizer, "except", [])
    return model

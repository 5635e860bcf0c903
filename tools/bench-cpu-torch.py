#!/usr/bin/env python3
"""tokens/s of the training step of models/dense-tiny.mlir in PyTorch, eager or compiled: what tools/bench-cpu compares megacc with.

  bench-cpu-torch.py --steps N [--compile]                  tokens/s over N steps on random tokens, after compiling and two warm-up steps
  bench-cpu-torch.py --check CASE.safetensors [--compile]   three steps on the golden case "gqa": worst errors

Every part is the fastest that PyTorch has for it: fused attention with grouped heads, fused RMSNorm, fused AdamW. --compile compiles
forward and backward with Inductor. Parameters are named as in megacc's checkpoints.
"""
import argparse, ctypes, json, os, struct, sys, time
from types import SimpleNamespace as Record
import numpy as np

TINY = Record(hidden=128, vocab=256, sequence=256, batch=8, letters='AFAFAFAF', heads=4, kv_heads=2, head_dim=32, rope=32, width=512,
              optimizer=Record(lr=3e-3, eps=1e-8, decay=0.1, clip=1.0))
GOLDEN = Record(hidden=48, vocab=64, sequence=24, batch=2, letters='AA', heads=6, kv_heads=2, head_dim=8, rope=4, width=0,
                optimizer=Record(lr=3e-3, eps=1e-5, decay=0.1, clip=1.0))

parser = argparse.ArgumentParser()
parser.add_argument('--steps', type=int, default=20)
parser.add_argument('--compile', action='store_true', help='compile the step with Inductor')
parser.add_argument('--check', metavar='CASE', help='compare with a golden case instead')
args = parser.parse_args()
# glibc would hand large blocks back to the kernel after every step, and the page faults would be compared too: no mmap, no trimming.
for option, value in ((-4, 0), (-1, -1)): ctypes.CDLL(None).mallopt(option, value)
import torch
import torch.nn.functional as F
torch.set_num_threads(len(os.sched_getaffinity(0)))

def parameter_shapes(s):
    shapes = {'embedding.weight': (s.vocab, s.hidden), 'final_norm.weight': (s.hidden,), 'head.weight': (s.vocab, s.hidden)}
    for i, letter in enumerate(s.letters):
        mixer = {'qkv_proj.weight': ((s.heads + 2 * s.kv_heads) * s.head_dim, s.hidden),
                 'out_proj.weight': (s.hidden, s.heads * s.head_dim)}
        if letter == 'F': mixer = {'up.weight': (2 * s.width, s.hidden), 'down.weight': (s.hidden, s.width)}
        shapes['blocks.%d.norm.weight' % i] = (s.hidden,)
        shapes.update({'blocks.%d.mixer.%s' % (i, key): shape for key, shape in mixer.items()})
    return shapes

def rotate(x, cosine, sine):
    """x (B,heads,S,d), pairing channel j of the first `rope` with j + rope/2."""
    half = cosine.shape[-1]
    a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine, rest], -1)

def attention(s, w, n, angles):
    B, S, _ = n.shape
    qkv = F.linear(n, w('qkv_proj.weight')).view(B, S, -1, s.head_dim)
    q, k, v = (t.transpose(1, 2) for t in qkv.split([s.heads, s.kv_heads, s.kv_heads], 2))
    y = F.scaled_dot_product_attention(rotate(q, *angles), rotate(k, *angles), v, is_causal=True, enable_gqa=True)
    return F.linear(y.transpose(1, 2).reshape(B, S, -1), w('out_proj.weight'))

def mlp(s, w, n):
    gate, up = F.linear(n, w('up.weight')).chunk(2, -1)
    return F.linear(F.silu(gate) * up, w('down.weight'))

def compute_loss(s, p, angles, tokens, targets):
    x = F.embedding(tokens, p['embedding.weight'])
    for i, letter in enumerate(s.letters):
        w, n = lambda key: p['blocks.%d.mixer.%s' % (i, key)], F.rms_norm(x, (s.hidden,), p['blocks.%d.norm.weight' % i], 1e-5)
        x = x + (attention(s, w, n, angles) if letter == 'A' else mlp(s, w, n))
    logits = F.linear(F.rms_norm(x, (s.hidden,), p['final_norm.weight'], 1e-5), p['head.weight'])
    return F.cross_entropy(logits.view(-1, s.vocab), targets.view(-1), ignore_index=-1)

class Trainer:
    def __init__(self, s, values):
        o = s.optimizer
        self.p = {key: torch.tensor(value, dtype=torch.float32, requires_grad=True) for key, value in values.items()}
        half = s.rope // 2
        angle = torch.arange(s.sequence, dtype=torch.float64)[:, None] * 1e4 ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = angle.cos().float(), angle.sin().float()
        loss = lambda tokens, targets: compute_loss(s, self.p, angles, tokens, targets)
        self.loss, self.clip = torch.compile(loss, dynamic=False) if args.compile else loss, o.clip
        groups = [dict(params=[x for x in self.p.values() if x.dim() > 1], weight_decay=o.decay),
                  dict(params=[x for x in self.p.values() if x.dim() == 1], weight_decay=0.0)]
        self.optimizer = torch.optim.AdamW(groups, lr=o.lr, betas=(0.9, 0.95), eps=o.eps, fused=True)

    def step(self, batches):
        """A step over micro-batches; returns the mean loss and the gradient's norm before clipping."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for tokens, targets in batches:
            loss = self.loss(tokens, targets) / len(batches)
            loss.backward()
            losses.append(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self.p.values(), self.clip)
        self.grads = {key: x.grad for key, x in self.p.items()}
        self.optimizer.step()
        return sum(losses), norm

def benchmark(s, steps):
    rng = np.random.default_rng(0)
    values = {key: np.ones(shape) if len(shape) == 1 else 0.02 * rng.standard_normal(shape) for key, shape in parameter_shapes(s).items()}
    trainer = Trainer(s, values)
    texts = [torch.tensor(rng.integers(0, s.vocab, (s.batch, s.sequence + 1))) for _ in range(8)]  # data is ready, as in any good loader
    batches = [[(text[:, :-1].contiguous(), text[:, 1:].contiguous())] for text in texts]
    begin = time.perf_counter()
    for i in range(2): trainer.step(batches[i])
    print('first two steps in %.1f s, %d parameters, torch %s on %d threads' % (
        time.perf_counter() - begin, sum(x.numel() for x in trainer.p.values()), torch.__version__, torch.get_num_threads()), flush=True)
    begin, cpu = time.perf_counter(), time.process_time()
    for i in range(steps): loss, norm = trainer.step(batches[i % len(batches)])
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    tokens = steps * s.batch * s.sequence
    print('last loss %.4f, gradient norm %.3f, %.3f s of CPU time a step' % (loss, norm, cpu / steps))
    print('%d tokens in %.1f s, %.0f tokens/s' % (tokens, seconds, tokens / seconds))

def check(s, path):
    with open(path, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0])); data = f.read()
    types = dict(F32='<f4', I32='<i4')
    load = lambda t: np.frombuffer(data[slice(*t['data_offsets'])], types[t['dtype']]).reshape(t['shape'])
    golden = {k: load(t) for k, t in header.items() if k != '__metadata__'}
    group = lambda name: {k[len(name) + 1:]: golden[k] for k in golden if k.startswith(name + '.')}
    if {k: x.shape for k, x in group('param').items()} != parameter_shapes(s):
        sys.exit('error: %s is not a model of the sizes GOLDEN' % path)
    batches = [(torch.tensor(x).long(), torch.tensor(y).long()) for x, y in zip(golden['input.tokens'], golden['input.targets'])]
    trainer, worst = Trainer(s, group('param')), {}
    def compare(name, key, mine, wanted, scale):
        error = float(np.abs(np.asarray(mine.detach(), np.float64) - wanted).max() / scale)
        worst[name] = max(worst.get(name, (0.0, '')), (error if np.isfinite(error) else np.inf, key))
    for i in range(3):
        loss, norm = trainer.step(batches)
        compare('loss', 'step %d' % i, loss, golden['loss.total'][i], golden['loss.total'][i])
        compare('grad_norm', 'step %d' % i, norm, golden['grad_norm'][i], golden['grad_norm'][i])
        factor = min(1.0, s.optimizer.clip / (float(norm) + 1e-6))                                              # clipping was in place
        for k, g in group('grad').items() if i == 0 else (): compare('grad', k, trainer.grads[k] / factor, g, np.abs(g).max())
        for k, x in group('param%d' % (i + 1)).items() if i != 1 else (): compare('param%d' % (i + 1), k, trainer.p[k], x, 1.0)
    limits = dict(loss=1e-5, grad_norm=1e-5, grad=1e-4, param1=5e-5, param3=5e-5)
    for name, (error, key) in worst.items():
        print('%-10s %.1e %s %.0e  %s' % (name, error, 'ok    <=' if error <= limits[name] else 'FAILED >', limits[name], key))
    sys.exit(any(error > limits[name] for name, (error, _) in worst.items()))

if args.check: check(GOLDEN, args.check)
benchmark(TINY, args.steps)

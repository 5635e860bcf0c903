#!/usr/bin/env python3
"""tokens/s of the training step of models/nam56r-tiny.mlir, written in JAX and run by XLA's CPU backend: what tools/bench-cpu compares
megacc with.

  bench-cpu-xla.py --steps N                    tokens/s over N steps on random tokens, after compiling and two steps to warm up
  bench-cpu-xla.py --check CASE.safetensors     three steps on a golden case of the sizes GOLDEN: worst errors of what they leave

Whole step in one jitted function with donated buffers: forward, loss (main + MTP + router aux), gradient, clip, AdamW. Shapes: B rows, S
tokens, D width; n is the normalised input of a mixer and w(key) one of its parameters, named as in megacc's checkpoints.
"""
import argparse, ctypes, json, math, os, struct, sys, time
from types import SimpleNamespace as Record
import numpy as np

EPS = 1e-5
TINY = Record(
    hidden=128, vocab=256, sequence=256, batch=8, letters='AEMEAEMEAEMRA', mtp_width=256, mtp_weight=0.1,
    A=Record(heads=4, q_rank=32, kv_rank=32, nope=16, rope=16, value=32),
    E=Record(experts=8, top_k=2, width=64, shared=128, aux=1e-4),
    M=Record(inner=256, head_dim=32, state=32, groups=4, rank=4, chunk=16),
    R=Record(key=16, value=16, heads=4, conv=4),
    ngram=Record(orders=(2, 3), heads=2, rows=8192, dim=16),
    optimizer=Record(lr=3e-3, final=3e-4, warmup=6, steps=120, beta1=0.9, beta2=0.95, eps=1e-8, decay=0.1, clip=1.0))
GOLDEN = Record(
    hidden=64, vocab=72, sequence=32, batch=2, letters='AEMEAEMEAEMRA', mtp_width=32, mtp_weight=0.1,
    A=Record(heads=4, q_rank=16, kv_rank=16, nope=8, rope=8, value=8),
    E=Record(experts=4, top_k=2, width=8, shared=16, aux=1e-2),
    M=Record(inner=64, head_dim=16, state=8, groups=2, rank=2, chunk=16),
    R=Record(key=8, value=4, heads=8, conv=4),
    ngram=Record(orders=(2, 3), heads=4, rows=127, dim=4),
    optimizer=Record(lr=3e-3, final=3e-3, warmup=0, steps=1, beta1=0.9, beta2=0.95, eps=1e-5, decay=0.1, clip=1.0))

parser = argparse.ArgumentParser()
parser.add_argument('--steps', type=int, default=20)
parser.add_argument('--check', metavar='CASE', help='compare with a golden case instead')
args = parser.parse_args()
os.environ['JAX_PLATFORMS'] = 'cpu'
# glibc would hand XLA's buffers back to the kernel after every step, and the page faults cost a third of the time:
# no mmap for large blocks, no trimming, one arena.
for option, value in ((-4, 0), (-1, -1), (-8, 1)): ctypes.CDLL(None).mallopt(option, value)
import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import sigmoid, silu, softplus

# ------------------------------------------------------------------------------------------------- parameters

def mixer_shapes(kind, s):
    D = s.hidden
    if kind == 'A':
        a = s.A
        return {'q_down.weight': (a.q_rank, D), 'q_norm.weight': (a.q_rank,), 'q_up.weight': (a.heads * (a.nope + a.rope), a.q_rank),
                'kv_down.weight': (a.kv_rank + a.rope, D), 'kv_norm.weight': (a.kv_rank,),
                'kv_up.weight': (a.heads * (a.nope + a.value), a.kv_rank), 'out_proj.weight': (D, a.heads * a.value)}
    if kind == 'E':
        a = s.E
        return {'router.weight': (a.experts, D), 'experts.up.weight': (a.experts, a.width, D),
                'experts.down.weight': (a.experts, D, a.width),
                'shared.up.weight': (a.shared, D), 'shared.down.weight': (D, a.shared)}
    if kind == 'M':
        a = s.M; H, bias = a.inner // a.head_dim, (a.inner // a.head_dim, a.rank, a.state)
        mimo = (H, a.rank, a.head_dim)
        return {'in_proj.weight': (2 * a.inner + 2 * a.groups * a.state * a.rank + 3 * H + a.state // 4, D), 'dt_bias': (H,), 'D': (H,),
                'B_bias': bias, 'C_bias': bias, 'B_norm.weight': (a.state,), 'C_norm.weight': (a.state,),
                'mimo_x': mimo, 'mimo_z': mimo, 'mimo_o': mimo, 'out_proj.weight': (D, a.inner)}
    if kind == 'R':
        a = s.R; inner, channels = a.heads * a.value, 2 * a.key + a.heads * a.value
        return {'in_proj.weight': (channels + a.heads + inner, D), 'conv.weight': (channels, a.conv), 'conv.bias': (channels,),
                'A_log': (a.heads,),
                'dt_bias': (a.heads,), 'state_weight': (a.heads, a.value, a.value), 'D': (a.heads, a.value), 'norm.weight': (inner,),
                'out_proj.weight': (D, inner)}
    return {'up.weight': (s.mtp_width, D), 'down.weight': (D, s.mtp_width)}

def parameter_shapes(s):
    D, shapes = s.hidden, {}
    def block(prefix, kind):
        shapes[prefix + 'norm.weight'] = (D,)
        shapes.update({prefix + 'mixer.' + key: shape for key, shape in mixer_shapes(kind, s).items()})
    shapes['embedding.weight'] = (s.vocab, D)
    sizes = ngram_sizes(s.ngram)
    shapes['ngram_hash.table.weight'] = (sum(sizes), s.ngram.dim); shapes['ngram_hash.proj.weight'] = (D, len(sizes) * s.ngram.dim)
    for i, letter in enumerate(s.letters): block('blocks.%d.' % i, letter)
    shapes['final_norm.weight'] = (D,); shapes['head.weight'] = (s.vocab, D)
    shapes['mtp.0.embed_norm.weight'] = shapes['mtp.0.hidden_norm.weight'] = shapes['mtp.0.final_norm.weight'] = (D,)
    shapes['mtp.0.eh_proj.weight'] = (D, 2 * D)
    block('mtp.0.blocks.0.', 'A'); block('mtp.0.blocks.1.', 'mlp')
    return shapes

def initial(s):
    """Ordinary magnitudes: the values do not change the cost, but the steps should train."""
    rng, values = np.random.default_rng(0), {}
    for key, shape in parameter_shapes(s).items():
        if key.endswith('state_weight'): v = np.broadcast_to(np.eye(shape[-1]), shape)
        elif key.endswith(('norm.weight', 'mixer.D', 'B_bias', 'C_bias', 'mimo_z')): v = np.ones(shape)
        elif key.endswith(('mimo_x', 'mimo_o')): v = np.full(shape, 1 / s.M.rank)
        elif key.endswith('dt_bias'): v = np.log(np.expm1(np.exp(rng.uniform(math.log(1e-3), math.log(0.1), shape))))
        elif key.endswith('A_log'): v = np.log(rng.uniform(1, 16, shape))
        elif key.endswith('conv.weight'): v = rng.uniform(-0.5, 0.5, shape)
        elif key.endswith(('conv.bias', 'ngram_hash.proj.weight')): v = np.zeros(shape)
        else: v = 0.02 * rng.standard_normal(shape)
        values[key] = jnp.asarray(v, jnp.float32)
    return values

def decays(key, shape): return len(shape) > 1 and not key.endswith('mixer.D')

# ------------------------------------------------------------------------------------------------- mixers

def linear(x, weight): return x @ weight.T
def gelu(x): return jax.nn.gelu(x, approximate=False)
def split(x, *sizes): return jnp.split(x, np.cumsum(sizes)[:-1], -1)

def rms(x, weight): return x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS) * weight

def shift(x, j):
    """x[:, t-j], zero outside the row; j may be negative."""
    pad = [(0, 0)] * x.ndim; pad[1] = (max(j, 0), max(-j, 0))
    return jnp.pad(x, pad)[:, max(-j, 0):][:, :x.shape[1]]

def rope(x):
    """x (B,S,heads,d), pairing channel j with j + d/2."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None, None] * 1e4 ** (-np.arange(half) / half)
    c, s = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * c - b * s, a * s + b * c], -1)

def mla(s, w, n):
    a = s.A; B, S, _ = n.shape
    q = linear(rms(linear(n, w('q_down.weight')), w('q_norm.weight')), w('q_up.weight')).reshape(B, S, a.heads, a.nope + a.rope)
    c_kv, k_pe = split(linear(n, w('kv_down.weight')), a.kv_rank, a.rope)
    k, v = split(linear(rms(c_kv, w('kv_norm.weight')), w('kv_up.weight')).reshape(B, S, a.heads, a.nope + a.value), a.nope, a.value)
    q = jnp.concatenate([q[..., :a.nope], rope(q[..., a.nope:])], -1) * (a.nope + a.rope) ** -0.5
    k = jnp.concatenate([k, jnp.broadcast_to(rope(k_pe[:, :, None]), (B, S, a.heads, a.rope))], -1)
    q, k, v = (t.transpose(0, 2, 1, 3) for t in (q, k, v))
    causal, y, width = np.tril(np.ones((S, S), bool)), [], max(S // 4, 1)
    # by blocks of queries: skips 3/8 of the keys
    for i in range(0, S, width):
        end = min(i + width, S)
        p = jax.nn.softmax(jnp.where(causal[i:end, :end], jnp.einsum('bhsd,bhtd->bhst', q[:, :, i:end], k[:, :, :end]), -jnp.inf), -1)
        y.append(jnp.einsum('bhst,bhtd->bhsd', p, v[:, :, :end]))
    return linear(jnp.concatenate(y, 2).transpose(0, 2, 1, 3).reshape(B, S, -1), w('out_proj.weight'))

def moe(s, w, n):
    """Every expert on every token: two large GEMMs, 2.7 times faster here than sorting tokens and lax.ragged_dot."""
    a = s.E; shape = n.shape; n = n.reshape(-1, shape[-1]); E, W = a.experts, a.width
    score = jax.nn.softmax(linear(n, w('router.weight')), -1)
    mine, other, lower = score[:, :, None], score[:, None, :], np.tril(np.ones((E, E), bool), -1)
    chosen = lax.stop_gradient((jnp.sum((other > mine) | (other == mine) & lower, -1) < a.top_k).astype(jnp.float32))
    weight = score * chosen; weight = weight / (weight.sum(-1, keepdims=True) + 1e-20)
    h = gelu(linear(n, w('experts.up.weight').reshape(E * W, -1))).reshape(-1, E, W) * weight[:, :, None]
    y = h.reshape(-1, E * W) @ w('experts.down.weight').transpose(0, 2, 1).reshape(E * W, -1)
    y = y + linear(gelu(linear(n, w('shared.up.weight'))), w('shared.down.weight'))
    return y.reshape(shape), a.aux * E * jnp.sum(chosen.mean(0) / a.top_k * score.mean(0))

def rotate(v, cos, sin):
    """MIMO's pairs (j, j + N/2) for j < N/4; the other channels pass."""
    a, b, c, d = jnp.split(v, 4, -1)
    return jnp.concatenate([a * cos - c * sin, b, a * sin + c * cos, d], -1)

def mamba3(s, w, n):
    """Chunked: einsums inside chunks of T tokens, L = T*R rows each, and one einsum over the states that chunks pass on."""
    a = s.M; B, S, _ = n.shape; P, N, G, R, T = a.head_dim, a.state, a.groups, a.rank, a.chunk
    H, C, L = a.inner // P, S // T, T * R
    z, x, b, c, dd_dt, dd_a, trap, angle = split(linear(n, w('in_proj.weight')), a.inner, a.inner, G * N * R, G * N * R, H, H, H, N // 4)
    dt = softplus(dd_dt + w('dt_bias'))
    decay = jnp.minimum(-softplus(dd_a), -1e-4) * dt
    lam = sigmoid(trap)
    theta = jnp.cumsum(math.pi * jnp.tanh(angle)[:, :, None] * dt[..., None], 1)                # (B,S,H,N/4)
    gamma = lam * dt
    past = gamma + shift((1 - lam) * dt, -1)                                                    # weight of a token for later ones

    chunks = lambda t: t.reshape(B, C, T, H).transpose(0, 3, 1, 2)                              # (B,H,C,T)
    decay, gamma, past = chunks(decay), chunks(gamma), chunks(past)
    theta = theta.reshape(B, C, T, H, 1, N // 4).transpose(0, 3, 1, 2, 4, 5)
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    def rows(t, norm, bias):                                                                    # (B,H,C,L,N): normalised, biased, rotated
        t = rms(t.reshape(B, C, T, R, G, N), norm).transpose(0, 4, 1, 2, 3, 5)
        t = jnp.repeat(t, H // G, 1) + bias[:, None, None]
        return rotate(t, cos, sin).reshape(B, H, C, L, N)
    q, k = rows(c, w('C_norm.weight'), w('C_bias')), rows(b, w('B_norm.weight'), w('B_bias'))
    wide = lambda t: t.reshape(B, C, T, 1, H, P).transpose(0, 4, 1, 2, 3, 5)
    by_head = lambda key: w(key)[:, None, None]
    u = (wide(x) * by_head('mimo_x')).reshape(B, H, C, L, P)
    row = lambda t: jnp.repeat(t, R, -1)[..., None]                                             # (B,H,C,T) -> (B,H,C,L,1)

    to = jnp.cumsum(decay, -1)
    later = np.tril(np.ones((T, T), bool), -1)
    within = jnp.exp(jnp.where(later, to[..., :, None] - to[..., None, :], -jnp.inf)) * past[..., None, :]
    within = within + np.eye(T, dtype=np.float32) * gamma[..., None]
    scores = (jnp.einsum('bhcln,bhcmn->bhclm', q, k).reshape(B, H, C, T, R, T, R) * within[..., :, None, :, None]).reshape(B, H, C, L, L)
    y = jnp.einsum('bhclm,bhcmp->bhclp', scores, u)
    passed = jnp.einsum('bhcln,bhclp->bhcnp', k * row(jnp.exp(to[..., -1:] - to) * past), u)
    total = jnp.cumsum(to[..., -1], -1)                                                         # (B,H,C) decay up to the end of each chunk
    before = np.tril(np.ones((C, C), bool), -1)
    between = jnp.exp(jnp.where(before, (total - to[..., -1])[..., :, None] - total[..., None, :], -jnp.inf))
    state = jnp.einsum('bhcd,bhdnp->bhcnp', between, passed)                                    # entering each chunk
    y = y + row(jnp.exp(to)) * jnp.einsum('bhcln,bhcnp->bhclp', q, state) + w('D')[:, None, None, None] * u
    out = jnp.sum(by_head('mimo_o') * y.reshape(B, H, C, T, R, P) * silu(wide(z) * by_head('mimo_z')), 4)
    return linear(out.transpose(0, 2, 3, 1, 4).reshape(B, S, -1), w('out_proj.weight'))

def m2rnn(s, w, n):
    a = s.R; B, S, _ = n.shape; H, K, V = a.heads, a.key, a.value
    qkv, f, g = split(linear(n, w('in_proj.weight')), 2 * K + H * V, H, H * V)
    qkv = silu(sum(shift(qkv, a.conv - 1 - i) * w('conv.weight')[:, i] for i in range(a.conv)) + w('conv.bias'))
    q, k, v = split(qkv, K, K, H * V)
    v = v.reshape(B, S, H, V)
    f = jnp.exp(-jnp.exp(w('A_log')) * softplus(f + w('dt_bias')))
    weight = w('state_weight')
    # the backward pass computes tanh again: less to store
    @jax.checkpoint
    def step(h, now):                                                                           # h (H,B,K,V): a batch of GEMMs by head
        k, v, f = now
        z = jnp.tanh(jnp.einsum('hbkv,hvu->hbku', h, weight) + k[:, :, None] * v[:, :, None])
        h = z + f * (h - z)
        return h, h
    over_time = k.transpose(1, 0, 2), v.transpose(1, 2, 0, 3), f.transpose(1, 2, 0)[..., None, None]
    _, states = lax.scan(step, jnp.zeros((H, B, K, V)), over_time)
    y = jnp.einsum('shbkv,bsk->bshv', states, q)
    return linear(rms((y + w('D') * v).reshape(B, S, -1) * silu(g), w('norm.weight')), w('out_proj.weight'))

def mlp(s, w, n): return linear(gelu(linear(n, w('up.weight'))), w('down.weight'))

# ------------------------------------------------------------------------------------------------- input and loss

def ngram_sizes(g):
    """Successive primes, one a table."""
    prime = lambda n: n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))
    sizes, n = [], g.rows - g.rows // 2500
    while len(sizes) < len(g.orders) * g.heads:
        if prime(n): sizes.append(n)
        n += 1
    return sizes

def ngram_rows(g, tokens):
    """Rows of the stacked table (B,S,tables), from 31-bit multipliers: products of bytes fit 64 bits, so numpy computes them."""
    M64 = (1 << 64) - 1
    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64; z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
        return z ^ z >> 31
    def key(name):
        h = 0xCBF29CE484222325
        for byte in name.encode(): h = (h ^ byte) * 0x100000001B3 & M64
        return mix(h + mix(0x9E3779B97F4A7C15) & M64)
    draw = lambda key, n: mix(key + (n + 1) * 0x9E3779B97F4A7C15 & M64) >> 33
    longest, rows, offset = max(g.orders), [], 0
    history = [np.pad(tokens, ((0, 0), (i, 0)))[:, :tokens.shape[1]].astype(np.uint64) for i in range(longest)]
    for j, size in enumerate(ngram_sizes(g)):
        h = np.full(tokens.shape, draw(key('ngram_hash.bias'), j), np.uint64)
        for i in range(g.orders[j // g.heads]): h ^= np.uint64(draw(key('ngram_hash.multipliers'), j * longest + i) | 1) * history[i]
        rows.append((h % np.uint64(size)).astype(np.int32) + offset); offset += size
    return np.stack(rows, -1)

def cross_entropy(h, head, targets):
    logits = linear(h, head)
    valid = targets >= 0
    picked = jnp.take_along_axis(logits, jnp.maximum(targets, 0)[..., None], -1)[..., 0]
    return jnp.sum((jax.nn.logsumexp(logits, -1) - picked) * valid) / jnp.maximum(valid.sum(), 1)

MIXERS = dict(A=mla, M=mamba3, R=m2rnn, mlp=mlp)

def loss_terms(s, p, batch):
    aux = 0.0
    def block(prefix, kind, x):
        nonlocal aux
        n, w = rms(x, p[prefix + 'norm.weight']), lambda key: p[prefix + 'mixer.' + key]
        if kind != 'E': return x + MIXERS[kind](s, w, n)
        y, extra = moe(s, w, n); aux += extra
        return x + y
    B, S = batch['tokens'].shape
    e = p['embedding.weight'][batch['tokens']]
    e = e + linear(p['ngram_hash.table.weight'][batch['rows']].reshape(B, S, -1), p['ngram_hash.proj.weight'])
    x = e
    for i, letter in enumerate(s.letters): x = block('blocks.%d.' % i, letter, x)
    h = rms(x, p['final_norm.weight'])
    main = cross_entropy(h, p['head.weight'], batch['targets'])
    both = jnp.concatenate([rms(shift(e, -1), p['mtp.0.embed_norm.weight']), rms(h, p['mtp.0.hidden_norm.weight'])], -1)
    x = linear(both, p['mtp.0.eh_proj.weight'])
    x = block('mtp.0.blocks.1.', 'mlp', block('mtp.0.blocks.0.', 'A', x))
    mtp = cross_entropy(rms(x, p['mtp.0.final_norm.weight']), p['head.weight'], shift(batch['targets'] + 1, -1) - 1)
    terms = {'main': main, 'mtp': s.mtp_weight * mtp, 'moe_aux': aux}
    return sum(terms.values()), terms

# ------------------------------------------------------------------------------------------------- training step

def learning_rate(o, t):
    cosine = o.final + (o.lr - o.final) / 2 * (1 + jnp.cos(math.pi * jnp.clip((t - o.warmup) / (o.steps - o.warmup), 0, 1)))
    return jnp.where(t <= o.warmup, o.lr * t / max(o.warmup, 1), cosine)

def make_step(s):
    o = s.optimizer
    def step(p, m, v, t, batch):
        (total, terms), g = jax.value_and_grad(lambda p: loss_terms(s, p, batch), has_aux=True)(p)
        norm = jnp.sqrt(sum(jnp.sum(x * x) for x in g.values()))
        clip = jnp.minimum(1.0, o.clip / (norm + 1e-6))
        t = t + 1; lr = learning_rate(o, t)
        m = {k: o.beta1 * m[k] + (1 - o.beta1) * clip * g[k] for k in g}
        v = {k: o.beta2 * v[k] + (1 - o.beta2) * jnp.square(clip * g[k]) for k in g}
        new = {}
        for k in g:
            kept = p[k] * (1 - lr * o.decay) if decays(k, p[k].shape) else p[k]
            new[k] = kept - lr * (m[k] / (1 - o.beta1 ** t)) / (jnp.sqrt(v[k] / (1 - o.beta2 ** t)) + o.eps)
        return new, m, v, t, dict(terms, total=total, grad_norm=norm)
    return jax.jit(step, donate_argnums=(0, 1, 2, 3))

def start(p): return p, {k: jnp.zeros_like(x) for k, x in p.items()}, {k: jnp.zeros_like(x) for k, x in p.items()}, jnp.float32(0)

def benchmark(s, steps):
    rng = np.random.default_rng(1)
    def batch():
        text = rng.integers(0, s.vocab, (s.batch, s.sequence + 1)).astype(np.int32)
        return dict(tokens=text[:, :-1], targets=text[:, 1:], rows=ngram_rows(s.ngram, text[:, :-1]))
    state = start(initial(s)); batches = [batch() for _ in range(8)]                            # data is ready, as in any good loader
    begin = time.perf_counter()
    step = make_step(s).lower(*state, batches[0]).compile()
    print('compiled in %.1f s, %d parameters, jax %s' %
          (time.perf_counter() - begin, sum(x.size for x in state[0].values()), jax.__version__), flush=True)
    def run(count):
        nonlocal state
        for i in range(count): *state, report = step(*state, batches[i % len(batches)])
        return jax.block_until_ready(report)
    run(2)
    begin, cpu = time.perf_counter(), time.process_time()
    report = run(steps)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    tokens = steps * s.batch * s.sequence
    print('last loss %.4f, gradient norm %.3f, %.2f s of CPU time a step' % (report['total'], report['grad_norm'], cpu / steps))
    print('%d tokens in %.1f s, %.0f tokens/s' % (tokens, seconds, tokens / seconds))

# ------------------------------------------------------------------------------------------------- check

def load_safetensors(path):
    types = dict(F32='<f4', F64='<f8', I32='<i4', I64='<i8')
    with open(path, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0])); data = f.read()
    return {k: np.frombuffer(data[slice(*t['data_offsets'])], types[t['dtype']]).reshape(t['shape'])
            for k, t in header.items() if k != '__metadata__'}

def check(s, path):
    golden = load_safetensors(path)
    group = lambda name: {k[len(name) + 1:]: golden[k] for k in golden if k.startswith(name + '.')}
    shapes = {k: x.shape for k, x in group('param').items()}
    if shapes != parameter_shapes(s):
        different = sorted({k for k, _ in shapes.items() ^ parameter_shapes(s).items()})
        sys.exit('error: %s is not a model of the sizes GOLDEN; parameters that differ: %s' % (path, ' '.join(different[:6])))
    tokens, targets = golden['input.tokens'][0], golden['input.targets'][0]
    batch = dict(tokens=tokens, targets=targets, rows=ngram_rows(s.ngram, tokens))
    state, step, worst = start({k: jnp.array(x) for k, x in group('param').items()}), make_step(s), {}
    def compare(name, key, mine, wanted, scale):
        error = float(np.abs(np.asarray(mine, np.float64) - wanted).max() / scale)
        worst[name] = max(worst.get(name, (0.0, '')), (error if np.isfinite(error) else math.inf, key))
    grads = jax.jit(jax.grad(lambda p: loss_terms(s, p, batch)[0]))(state[0])
    largest = max(np.abs(g).max() for g in group('grad').values())
    for k, g in group('grad').items(): compare('grad', k, grads[k], g, max(np.abs(g).max(), 1e-6 * largest))
    for i in range(3):
        *state, report = step(*state, batch)
        for k in ('total', 'main', 'mtp', 'moe_aux'):
            compare('loss', '%s, step %d' % (k, i), report[k], golden['loss.' + k][i], abs(golden['loss.' + k][i]))
        compare('grad_norm', 'step %d' % i, report['grad_norm'], golden['grad_norm'][i], golden['grad_norm'][i])
        if i in (0, 2):
            for k, x in group('param%d' % (i + 1)).items(): compare('param%d' % (i + 1), k, state[0][k], x, 1.0)
    compare('rows', 'ngram_rows', batch['rows'], golden['ngram_rows'][0], 1.0)
    limits = dict(loss=1e-5, grad_norm=1e-5, grad=1e-4, param1=5e-5, param3=5e-5, rows=0.0)
    for name, (error, key) in worst.items():
        print('%-10s %.1e %s %.0e  %s' % (name, error, 'ok    <=' if error <= limits[name] else 'FAILED >', limits[name], key))
    sys.exit(any(error > limits[name] for name, (error, _) in worst.items()))

if args.check: check(GOLDEN, args.check)
benchmark(TINY, args.steps)

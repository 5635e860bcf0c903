"""bench-mesh-torch.py MIB...: all_reduce of torch.distributed over NCCL, a process for each card (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_*).

For tools/bench-mesh, which runs it in turn with our own. Rank 0 prints a line per size: MiB, milliseconds and GB/s on the bus (of two
ranks, the bytes themselves).
"""
import os, sys

import torch, torch.distributed as ranks

WARM, REPEATS = 5, 20

rank = int(os.environ["RANK"])
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
ranks.init_process_group("nccl")
for mib in map(int, sys.argv[1:]):
    values = torch.ones(mib * 2**20 // 4, device="cuda")
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(WARM):
        ranks.all_reduce(values)
    begin.record()
    for _ in range(REPEATS):
        ranks.all_reduce(values)
    end.record()
    torch.cuda.synchronize()
    ms = begin.elapsed_time(end) / REPEATS
    if rank == 0:
        print(f"{mib:6} MiB  {ms:8.3f} ms  {mib * 2**20 / ms / 1e6:6.1f} GB/s  PyTorch {torch.__version__}", flush=True)
ranks.destroy_process_group()

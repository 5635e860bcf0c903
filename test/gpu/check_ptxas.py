#!/usr/bin/env python3
"""check_ptxas.py FOLDER: reads what ptxas said of every kernel (*.ptxas below FOLDER, written by tools/ptxas-report).

Fails where registers are spilled, or where a block has more static shared memory than sm_90 gives (227 KiB). Kernels that are faster with
a few spilled registers than with fewer live values stand in `allowed`, with the most bytes that any of their instances may store; more,
or another kernel, fails.
"""
import pathlib, re, sys

SHARED = 227 * 1024
allowed = {'chunkGradients': 932, 'walkOutputs': 4, 'prepareHeadsAndKeys': 44, 'finishHeads': 8}

files = sorted(pathlib.Path(sys.argv[1]).rglob('*.ptxas'))
kernels, failures, spilled = 0, [], []
for file in files:
    kernel, stores = None, 0
    for line in file.read_text().splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = match[1]
        elif match := re.search(r'(\d+) bytes spill stores', line):
            stores = int(match[1])
        elif kernel and (match := re.search(r'Used (\d+) registers', line)):
            kernels += 1
            shared = re.search(r'(\d+) bytes smem', line)
            name = next((word for word in allowed if word in kernel), None)
            if stores:
                spilled.append((stores, kernel))
            if stores > allowed.get(name, 0):
                failures.append('%s: %s spills %d bytes, at most %d' % (file.name, kernel, stores, allowed.get(name, 0)))
            if shared and int(shared[1]) > SHARED:
                failures.append('%s: %s has %s bytes of shared memory, at most %d' % (file.name, kernel, shared[1], SHARED))
            kernel, stores = None, 0
print('%d files, %d kernels, %d spill' % (len(files), kernels, len(spilled)))
for stores, kernel in sorted(spilled, reverse=True):
    print('  %5d bytes %s' % (stores, kernel))
print('\n'.join(failures))
sys.exit(bool(failures) or not kernels)

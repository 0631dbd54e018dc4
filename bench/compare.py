#!/usr/bin/env python3
"""Runs dino and its peers in turn on the same work and prints the ratios.

    bench/compare.py [--dino build/dino] [--python VENV/bin/python] [--peers PATH/peers.py]
                     [--work S:224:1,B:224:1,...] [--rounds 3] [--seconds 4] [--threads 2]
                     [--dtypes fp32,bf16,int8] [--only torch,ort,ov]

peers.py times one forward pass of PyTorch, ONNX Runtime or OpenVINO and prints a JSON line (it
needs torch, transformers, onnxruntime and openvino in the environment of --python). Every
round runs each contender once, so that a machine whose speed drifts treats all alike; the
table shows the median of the rounds' medians. Ratios, not milliseconds, are the result.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ARCH = {"S": "vits14", "B": "vitb14", "L": "vitl14", "g": "vitg14"}
COMPUTE = {"fp32": "f32", "bf16": "bf16", "int8": "int8"}
PEERS = {"fp32": ["torch", "ort", "ov"], "bf16": ["torch", "ov"], "int8": ["ort"]}


def run_dino(args, size, pixels, batch, dtype):
    command = [args.dino, "bench", "--arch", ARCH[size], "--size", pixels, "--batch", batch,
               "--threads", str(args.threads), "--compute", COMPUTE[dtype],
               "--seconds", str(args.seconds), "--json"]
    out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"ms": out["median_ms"], "load_s": out["load_s"], "mb": out["peak_bytes"] / 2**20}


def run_peer(args, peer, size, pixels, batch, dtype):
    command = [args.python, args.peers, peer, size, pixels, batch, dtype]
    environment = dict(os.environ, THREADS=str(args.threads), SECS=str(args.seconds),
                       HF_HUB_OFFLINE="1")
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    try:
        out = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"{peer} {size} {pixels} b{batch} {dtype}: {reason}", file=sys.stderr)
        return None
    return {"ms": out["med_ms"], "load_s": out["load_s"], "mb": out["rss_mb"]}


def compare(args, size, pixels, batch, dtype):
    names = ["dino"] + [p for p in PEERS[dtype] if p in args.only]
    seen = {name: [] for name in names}
    for _ in range(args.rounds):
        for name in names:
            one = (run_dino(args, size, pixels, batch, dtype) if name == "dino"
                   else run_peer(args, name, size, pixels, batch, dtype))
            if one:
                seen[name].append(one)
    row = {name: {key: statistics.median(r[key] for r in runs) for key in runs[0]}
           for name, runs in seen.items() if runs}
    peers = {name: value["ms"] for name, value in row.items() if name != "dino"}
    best = min(peers, key=peers.get) if peers else None
    return row, best


def cell(row, name):
    return f"{row[name]['ms']:.1f}" if name in row else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--dino", default=os.path.join(here, "../build/dino"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--peers", default=os.path.join(here, "../../shared/peers/peers.py"))
    parser.add_argument("--work", default="S:224:1,S:224:16,S:518:1,B:224:1,B:224:16,B:518:1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtypes", default="fp32")
    parser.add_argument("--only", default="torch,ort,ov")
    args = parser.parse_args()
    args.only = args.only.split(",")

    print("| work | dtype | dino ms | PyTorch | ONNX Runtime | OpenVINO | best peer / dino "
          "| dino MB | best peer MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for dtype in args.dtypes.split(","):
        for work in args.work.split(","):
            size, pixels, batch = work.split(":")
            row, best = compare(args, size, pixels, batch, dtype)
            ratio = f"{row[best]['ms'] / row['dino']['ms']:.2f}x ({best})" if best else "-"
            memory = f"{row[best]['mb']:.0f}" if best else "-"
            print(f"| ViT-{size} {pixels} b{batch} | {dtype} | {cell(row, 'dino')} "
                  f"| {cell(row, 'torch')} | {cell(row, 'ort')} | {cell(row, 'ov')} | {ratio} "
                  f"| {row['dino']['mb']:.0f} | {memory} |", flush=True)


if __name__ == "__main__":
    main()

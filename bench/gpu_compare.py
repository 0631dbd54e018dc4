#!/usr/bin/env python3
"""dino on a GPU beside PyTorch on the same one: compiled, bf16, its fastest attention, graphs.

    bench/gpu_compare.py [--dino build/dino] [--work S:224:1,L:518:16,...] [--mode MODE]
                         [--seconds 1] [--device cuda] [--skip-torch]

Both get 8-bit pictures in host memory and hand back all tokens there, so that transfers count
for both; PyTorch's time without them stands beside. Memory is what each had allocated at most
(dino: the growth of what nvidia-smi says is in use). The last line of the table is cuBLASLt's
own rate for a large bf16 product, through PyTorch, and each row says which share of it dino
reached. Random weights, Hugging Face's Dinov2Model.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

ARCH = {"S": ("vits14", 384, 12, 6), "B": ("vitb14", 768, 12, 12), "L": ("vitl14", 1024, 24, 16),
        "g": ("vitg14", 1536, 40, 24)}
WORK = "S:224:1,B:224:1,L:224:1,S:518:1,B:518:1,L:518:1,g:224:1," \
       "S:224:256,B:224:128,L:224:64,L:518:16,g:224:32"


def run_dino(args, size, pixels, batch):
    command = [args.dino, "bench", "--arch", ARCH[size][0], "--size", pixels, "--batch", batch,
               "--device", args.device, "--compute", "bf16", "--seconds", str(args.seconds),
               "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        return None
    return json.loads(done.stdout)


def build_torch(args, size):
    import torch
    from transformers import Dinov2Config, Dinov2Model
    _, dim, depth, heads = ARCH[size]
    config = Dinov2Config(hidden_size=dim, num_hidden_layers=depth, num_attention_heads=heads,
                          patch_size=14, image_size=518, use_swiglu_ffn=size == "g",
                          attn_implementation="sdpa")
    model = Dinov2Model(config).eval().to("cuda", torch.bfloat16)
    mean = torch.tensor([0.485, 0.456, 0.406], device="cuda").view(1, 3, 1, 1) * 255
    std = torch.tensor([0.229, 0.224, 0.225], device="cuda").view(1, 3, 1, 1) * 255

    def forward(pixels):
        x = ((pixels.permute(0, 3, 1, 2).float() - mean) / std).to(torch.bfloat16)
        return model(pixel_values=x).last_hidden_state.float()
    return torch.compile(forward, mode=args.mode, dynamic=False)


def median_ms(work, seconds):
    import torch
    for _ in range(4):
        work()
    torch.cuda.synchronize()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)


def run_torch(args, size, pixels, batch):
    import torch
    torch.cuda.reset_peak_memory_stats()
    forward = build_torch(args, size)
    shape = (int(batch), int(pixels), int(pixels), 3)
    host = torch.randint(0, 256, shape, dtype=torch.uint8).pin_memory()
    on_gpu = host.cuda()
    with torch.inference_mode():
        back = torch.empty_like(forward(on_gpu), device="cpu").pin_memory()

        def whole():
            back.copy_(forward(host.cuda(non_blocking=True)), non_blocking=True)
        row = {"gpu_ms": median_ms(lambda: forward(on_gpu), args.seconds),
               "ms": median_ms(whole, args.seconds),
               "mb": torch.cuda.max_memory_allocated() / 2**20}
    del forward
    torch._dynamo.reset()
    torch.cuda.empty_cache()
    return row


def product_peak(seconds):
    """TFLOP/s of a large bf16 product of random numbers, through cuBLASLt."""
    import torch
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2e-9 * n**3 / median_ms(lambda: a @ b, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dino", default="build/dino")
    parser.add_argument("--work", default=WORK)
    parser.add_argument("--mode", default="reduce-overhead")
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--skip-torch", action="store_true")
    args = parser.parse_args()

    peak = 0 if args.skip_torch else product_peak(args.seconds)
    print("work          dino ms  images/s  TFLOP/s | torch ms  gpu only     MB | ratio  of peak",
          flush=True)
    for work in args.work.split(","):
        size, pixels, batch = work.split(":")
        ours = run_dino(args, size, pixels, batch)
        theirs = None
        try:
            theirs = None if args.skip_torch else run_torch(args, size, pixels, batch)
        except Exception as error:  # a peer that fails is a hole in the table
            print(f"torch {work}: {error}", file=sys.stderr)
        line = f"{work:12}"
        if ours:
            tflops = 1e-3 * ours["gflop_per_s"]
            line += f" {ours['median_ms']:8.3f} {ours['images_per_s']:9.1f} {tflops:8.1f} |"
        else:
            line += "        -         -        - |"
        if theirs:
            line += f" {theirs['ms']:8.3f} {theirs['gpu_ms']:9.3f} {theirs['mb']:6.0f} |"
        else:
            line += "        -         -      - |"
        if ours and theirs:
            line += f" {theirs['ms'] / ours['median_ms']:5.2f}  {tflops / peak:7.0%}"
        print(line, flush=True)
    if peak:
        print(f"a bf16 product of 8192 x 8192 x 8192: {peak:.0f} TFLOP/s")


if __name__ == "__main__":
    main()

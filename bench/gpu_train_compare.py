#!/usr/bin/env python3
"""Training steps of dino on a GPU beside PyTorch's on the same one: bf16 autocast over f32
weights, fused attention, each block compiled where torch.compile works.

    bench/gpu_train_compare.py [--bench build/bench_train] [--work S:64,B:64,L:32,g:16]
                               [--prototypes 65536] [--steps 12] [--device cuda] [--skip-torch]
    bench/gpu_train_compare.py --golden FOLDER    losses of PyTorch's step beside the stored ones

A step is what bench_train does: 2 x 224 + 8 x 98 pixels an image, a third of the patches of
every second crop masked, teacher and student, one head for class tokens and patches, Sinkhorn
targets, DINO + iBOT + KoLeo, backward, clipping of each module, AdamW, the moving average;
stochastic depth is off in both. Crops begin as bytes in host memory. dino runs before and behind
PyTorch, and the median step of the better run counts. Memory is what each had at most: PyTorch's
allocated, dino's taken from the GPU. The share of peak is of cuBLASLt's rate for a large bf16
product, and counts the products that the step needs, not those done again.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

# width, blocks, heads, hidden width, SwiGLU, registers; pixels, local pixels, local crops;
# head's hidden width and bottleneck: as bench_train has them, c1 as the golden case
FORMS = {
    "S": (384, 12, 6, 1536, False, 0, 224, 98, 8, 2048, 256),
    "B": (768, 12, 12, 3072, False, 0, 224, 98, 8, 2048, 256),
    "L": (1024, 24, 16, 4096, False, 0, 224, 98, 8, 2048, 256),
    "g": (1536, 40, 24, 4096, True, 0, 224, 98, 8, 2048, 256),
    "t": (192, 12, 3, 768, False, 4, 98, 42, 6, 512, 128),
    "c1": (64, 3, 4, 256, False, 0, 56, 28, 4, 48, 24),
}
PATCH = 14


class Form:
    def __init__(self, name):
        (self.dim, self.depth, self.heads, self.hidden, self.swiglu, self.registers, self.pixels,
         self.local_pixels, self.locals, self.head_hidden, self.bottleneck) = FORMS[name]
        self.grid = self.pixels // PATCH


# ---- the network, with the official names of its parameters ----

class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGlu(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.w12, self.w3 = nn.Linear(dim, 2 * hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        a, b = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(a) * b)


class Scale(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, x):
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, form):
        super().__init__()
        dim = form.dim
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, form.heads)
        self.mlp = (SwiGlu if form.swiglu else Mlp)(dim, form.hidden)
        self.ls1, self.ls2 = Scale(dim), Scale(dim)

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)


class Backbone(nn.Module):
    def __init__(self, form):
        super().__init__()
        dim, self.grid, self.registers = form.dim, form.grid, form.registers
        self.cls_token = nn.Parameter(1e-6 * torch.randn(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + form.grid**2, dim))
        if form.registers:
            self.register_tokens = nn.Parameter(1e-6 * torch.randn(1, form.registers, dim))
        self.patch_embed = PatchEmbed(dim)
        self.blocks = nn.ModuleList(Block(form) for _ in range(form.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def positions(self, side):
        """As the official offset of 0.1 places them; the stored ones for their own grid."""
        if side == self.grid:
            return self.pos_embed
        square = self.pos_embed[:, 1:].view(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        scale = (side + 0.1) / self.grid
        square = F.interpolate(square, scale_factor=(scale, scale), mode="bicubic")
        return torch.cat((self.pos_embed[:, :1], square.flatten(2).transpose(1, 2)), 1)

    def forward(self, pictures, masks=None):
        """Normed class tokens [b, dim] and patches [b, patches, dim]."""
        x = self.patch_embed.proj(pictures)
        side = x.shape[-1]
        x = x.flatten(2).transpose(1, 2)
        if masks is not None:
            x = torch.where(masks.unsqueeze(-1), self.mask_token.to(x.dtype).unsqueeze(0), x)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.positions(side)
        if self.registers:
            x = torch.cat((x[:, :1], self.register_tokens.expand(len(x), -1, -1), x[:, 1:]), 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x[:, 0], x[:, 1 + self.registers:]


class LastLayer(nn.Module):
    def __init__(self, bottleneck, prototypes):
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(prototypes, 1))
        self.weight_v = nn.Parameter(bottleneck**-0.5 * torch.randn(prototypes, bottleneck))

    def forward(self, x):
        v = self.weight_v
        return F.linear(x, v * (self.weight_g / v.norm(dim=1, keepdim=True)))


class Head(nn.Module):
    def __init__(self, form, prototypes):
        super().__init__()
        hidden = form.head_hidden
        self.mlp = nn.Sequential(nn.Linear(form.dim, hidden), nn.GELU(),
                                 nn.Linear(hidden, hidden), nn.GELU(),
                                 nn.Linear(hidden, form.bottleneck))
        self.last_layer = LastLayer(form.bottleneck, prototypes)

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), dim=-1, eps=1e-12))


class Network(nn.Module):
    def __init__(self, form, prototypes):
        super().__init__()
        self.backbone = Backbone(form)
        self.dino_head = Head(form, prototypes)


# ---- the losses ----

def wide(x):
    return x if x.dtype == torch.float64 else x.float()


def sinkhorn(logits, temperature):
    q = torch.exp((wide(logits) - wide(logits).max()) / temperature)
    q = q / q.sum()
    rows, prototypes = q.shape
    for _ in range(3):
        q = q / q.sum(0, keepdim=True) / prototypes
        q = q / q.sum(1, keepdim=True) / rows
    return q * rows


def cross_entropy(logits, targets):
    """A row each; logits [..., rows, prototypes], targets [rows, prototypes]."""
    return -(targets * F.log_softmax(wide(logits) / 0.1, dim=-1)).sum(-1)


def koleo(rows):
    u = F.normalize(wide(rows), dim=-1, eps=1e-8)
    if len(u) < 2:
        return u.sum() * 0
    with torch.no_grad():
        dots = u @ u.T
        nearest = dots.fill_diagonal_(-1).argmax(1)
    return -torch.log((u - u[nearest] + 1e-8).norm(dim=1) + 1e-8).mean()


class Step:
    """Forward of teacher and student, up to the losses; its parts are compiled or not."""

    def __init__(self, student, teacher, compiled, mode):
        self.student, self.teacher = student, teacher
        self.sinkhorn, self.cross_entropy = sinkhorn, cross_entropy
        if compiled:
            for network in (student, teacher):
                for part in (*network.backbone.blocks, network.dino_head):
                    part.compile(mode=mode, dynamic=False)
            self.sinkhorn = torch.compile(sinkhorn, mode=mode, dynamic=False)
            self.cross_entropy = torch.compile(cross_entropy, mode=mode, dynamic=False)

    @torch.no_grad()
    def targets(self, crops, places, temperature):
        tokens, patches = self.teacher.backbone(crops)
        half = len(tokens) // 2
        tokens = torch.cat((tokens[half:], tokens[:half]))
        logits = self.teacher.dino_head(torch.cat((tokens, patches.flatten(0, 1)[places])))
        return (self.sinkhorn(logits[:2 * half], temperature),
                self.sinkhorn(logits[2 * half:], temperature))

    def losses(self, crops, local_crops, masks, places, weights, temperature=0.05):
        """Local, global, KoLeo and iBOT, as they are optimised."""
        dino, ibot = self.targets(crops, places, temperature)
        images = len(crops) // 2
        locals_ = len(local_crops) // images
        tokens, patches = self.student.backbone(crops, masks)
        local_tokens, _ = self.student.backbone(local_crops)
        logits = self.student.dino_head(
            torch.cat((local_tokens, tokens, patches.flatten(0, 1)[places])))
        local, whole, masked = logits.split((len(local_crops), len(crops), len(places)))
        terms = 2 + 2 * locals_
        both = dino[:images] + dino[images:]
        return {
            "dino_local": self.cross_entropy(local.unflatten(0, (locals_, images)), both)
            .mean(1).sum() / terms,
            "dino_global": 2 * self.cross_entropy(whole, dino).mean() / terms,
            "koleo": 0.1 * (koleo(tokens[:images]) + koleo(tokens[images:])),
            "ibot": (weights * self.cross_entropy(masked, ibot)).sum() / len(crops),
        }


# ---- against the stored losses ----

def read_tensors(path):
    """A safetensors file of f32, i32 and bool tensors."""
    kinds = {"F32": torch.float32, "I32": torch.int32, "BOOL": torch.bool}
    with open(path, "rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    return {name: torch.frombuffer(data[slice(*info["data_offsets"])],
                                   dtype=kinds[info["dtype"]]).reshape(info["shape"])
            for name, info in head.items() if name != "__metadata__"}


def golden_losses(folder, dtype):
    form = Form("c1")
    init = read_tensors(f"{folder}/c1/init.safetensors")
    images = read_tensors(f"{folder}/images.safetensors")
    masks = read_tensors(f"{folder}/c1/masks.safetensors")
    networks = []
    for who in ("student.", "teacher."):
        network = Network(form, 96)
        network.load_state_dict({name[len(who):]: value for name, value in init.items()
                                 if name.startswith(who)})
        networks.append(network.to(dtype))
    step = Step(*networks, False, None)
    return step.losses(images["global_crops"].to(dtype), images["local_crops"].to(dtype),
                       masks["masks"], masks["mask_indices"].long(),
                       masks["masks_weight"].to(dtype))


def check_golden(folder):
    with open(f"{folder}/c1/meta.json", encoding="utf-8") as file:
        stored = json.load(file)["step1"]
    want = {"dino_local": stored["loss"]["dino_local_crops_loss"],
            "dino_global": stored["loss"]["dino_global_crops_loss"],
            "koleo": 2 * stored["loss"]["koleo_loss"], "ibot": 2 * stored["loss"]["ibot_loss"]}
    worst = 0
    for dtype, bar in ((torch.float64, 1e-7), (torch.float32, 5e-6)):
        have = golden_losses(folder, dtype)
        for name, value in want.items():
            off = abs(have[name].item() - value) / abs(value)
            worst = max(worst, off / bar)
            print(f"{dtype} {name:12} {have[name].item():.12f} off by {off:.1e}")
    return 0 if worst <= 1 else 1


# ---- time ----

class Training:
    def __init__(self, args, form, images, compiled):
        self.device, self.form, self.images = args.device, form, images
        torch.manual_seed(0)
        self.student = Network(form, args.prototypes).to(args.device)
        self.teacher = Network(form, args.prototypes).to(args.device).requires_grad_(False)
        self.teacher.load_state_dict(self.student.state_dict())
        self.parts = [list(self.student.backbone.parameters()),
                      list(self.student.dino_head.parameters())]
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-4, weight_decay=0.04,
                                           fused=True)
        self.step = Step(self.student, self.teacher, compiled, args.mode)
        self.pixels = [self.bytes_of(2 * images, form.pixels),
                       self.bytes_of(form.locals * images, form.local_pixels)]
        self.mask()
        self.mean = torch.tensor([0.485, 0.456, 0.406], device=args.device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor([0.229, 0.224, 0.225], device=args.device).view(1, 3, 1, 1) * 255

    def bytes_of(self, count, side):
        x = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8)
        return x.pin_memory() if self.device == "cuda" else x

    def mask(self):
        masks = torch.zeros(2 * self.images, self.form.grid**2, dtype=torch.bool)
        masks[::2, ::3] = True
        places = masks.flatten().nonzero().flatten()
        each = masks.sum(1).clamp(min=1)
        weights = (1 / each).unsqueeze(1).expand_as(masks).flatten()[places]
        self.masks, self.places, self.weights = (x.to(self.device)
                                                 for x in (masks, places, weights))

    def crops(self, pixels):
        x = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        return (x - self.mean) / self.std

    def run(self):
        with torch.autocast(self.device, torch.bfloat16):
            losses = self.step.losses(self.crops(self.pixels[0]), self.crops(self.pixels[1]),
                                      self.masks, self.places, self.weights)
        loss = sum(losses.values())
        loss.backward()
        for part in self.parts:
            torch.nn.utils.clip_grad_norm_(part, 3.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.teacher.parameters()),
                                 list(self.student.parameters()), 0.01)
        return loss.item()  # waits


def time_torch(args, form, images, compiled):
    on_gpu = args.device == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    training = Training(args, form, images, compiled)
    times = []
    for _ in range(args.steps):
        begun = time.perf_counter()
        loss = training.run()
        times.append(time.perf_counter() - begun)
    return {"s": statistics.median(times[2:]), "loss": loss, "compiled": compiled,
            "gb": 1e-9 * torch.cuda.max_memory_allocated() if on_gpu else 0}


def run_torch(args, form, images):
    """Compiled, and as it is where that fails; None where both do."""
    for compiled in (False,) if args.eager else (True, False):
        try:
            return time_torch(args, form, images, compiled)
        except Exception as error:  # a peer that fails is a hole in the table
            print(f"torch, {'compiled' if compiled else 'eager'}: {error}", file=sys.stderr)
        torch._dynamo.reset()
        if args.device == "cuda":
            torch.cuda.empty_cache()
    return None


def run_dino(args, size, images):
    command = [args.bench, "--device", args.device, "--steps", str(args.steps), size.lower(),
               "bf16", str(images), str(images), str(os.cpu_count()), str(args.prototypes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = re.search(r"median ([0-9.]+) s .* peak memory ([0-9.-]+) GB", done.stdout)
    if done.returncode or not last:
        print(f"dino: {done.stderr.strip()}", file=sys.stderr)
        return None
    return {"s": float(last[1]), "gb": float(last[2])}


def step_gflop(form, images, masked, prototypes):
    """Of the products: the teacher's forward, the student's forward and its backward's two."""
    def crop(side):
        patches = (side // PATCH)**2
        tokens = 1 + form.registers + patches
        linear = tokens * form.dim * (4 * form.dim + (3 if form.swiglu else 2) * form.hidden)
        return form.depth * 2 * (linear + 2 * tokens**2 * form.dim) + \
            2 * patches * 3 * PATCH**2 * form.dim

    row = 2 * (form.dim * form.head_hidden + form.head_hidden**2 +
               form.head_hidden * form.bottleneck + form.bottleneck * prototypes)
    teacher = images * 2 * crop(form.pixels) + (2 * images + masked) * row
    student = teacher + images * form.locals * (crop(form.local_pixels) + row)
    return 1e-9 * (teacher + 3 * student)


def product_peak():
    """TFLOP/s of a large bf16 product of random numbers, through cuBLASLt."""
    n, times = 8192, []
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(30):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return 2e-12 * n**3 / statistics.median(times[5:])


def compare(args, work, peak):
    size, images = work.split(":")
    images, form = int(images), Form(size)
    runs = [run_dino(args, size, images)]
    theirs = None if args.skip_torch else run_torch(args, form, images)
    if args.device == "cuda":
        torch.cuda.empty_cache()
    if theirs:
        runs.append(run_dino(args, size, images))
    ours = min((run for run in runs if run), key=lambda run: run["s"], default=None)
    masked = images * ((form.grid**2 + 2) // 3)
    tflop = 1e-3 * step_gflop(form, images, masked, args.prototypes)
    line = f"{work:8}"
    for run in (ours, theirs):
        line += (f" {images / run['s']:9.1f} {run['gb']:7.2f} {tflop / run['s']:8.1f}"
                 f" {tflop / run['s'] / peak if peak else 0:5.0%} |") if run else \
            "         -       -        -     - |"
    if ours and theirs:
        line += f" {theirs['s'] / ours['s']:5.2f}"
    if theirs:
        line += "  compiled" if theirs["compiled"] else "  eager"
    print(line, flush=True)
    return ours is not None and (args.skip_torch or theirs is not None)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/bench_train")
    parser.add_argument("--work", default="S:64,B:64,L:32,g:16")
    parser.add_argument("--prototypes", type=int, default=65536)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--mode", default="default", help="of torch.compile")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--skip-torch", action="store_true")
    parser.add_argument("--golden", metavar="FOLDER")
    args = parser.parse_args()
    if args.golden:
        return check_golden(args.golden)
    if args.steps < 3:
        parser.error("--steps: at least 3, the first two are not counted")
    peak = product_peak() if args.device == "cuda" and not args.skip_torch else 0
    print("         dino /s      GB  TFLOP/s  peak | torch /s      GB  TFLOP/s  peak | ratio",
          flush=True)
    good = [compare(args, work, peak) for work in args.work.split(",")]
    if peak:
        print(f"a bf16 product of 8192 x 8192 x 8192: {peak:.0f} TFLOP/s")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Trains the training peer (lightly-train) from scratch at the sizes of the preset vitt14-small-data:
the same network, crops, batch and prototypes, all else its own recipe. Writes its teacher in the
official form, for `dino embed`, and prints the steps and the processor seconds that they took.

Needs lightly-train in its own virtual environment; it is only measured.

usage: learn_peer.py PICTURES OUT.pth STEPS [32-true|bf16-mixed]     THREADS: 1 unless said
"""
import functools
import os
import sys
import tempfile
import time

os.environ["LIGHTLY_TRAIN_EVENTS_DISABLED"] = "1"
import lightly_train
import lightly_train._methods.dinov2.dinov2 as method
import torch
from lightly_train._models.dinov2_vit.dinov2_vit import DINOv2ViTModelWrapper
from lightly_train._models.dinov2_vit.dinov2_vit_src.layers import MemEffAttention
from lightly_train._models.dinov2_vit.dinov2_vit_src.models import vision_transformer as vit

BATCH = 64
stamps = []


def network():
    return vit.DinoVisionTransformer(
        img_size=56, patch_size=14, embed_dim=256, depth=6, num_heads=4, mlp_ratio=4, init_values=1.0,
        block_chunks=0, num_register_tokens=4, interpolate_antialias=True, interpolate_offset=0.0,
        block_fn=functools.partial(vit.Block, attn_class=MemEffAttention))


def watch(out):
    """Notes each step's processor time, and every so often what the teacher knows."""
    inner = method.DINOv2.training_step_impl

    def step(self, *args, **named):
        stamps.append(time.process_time())
        if len(stamps) % 500 == 1:
            save(self, out)
            print(f"step {len(stamps) - 1}: {stamps[-1]:.0f} s of processor", flush=True)
        return inner(self, *args, **named)

    method.DINOv2.training_step_impl = step
    method.DINOv2.warn_if_steps_too_low = lambda self: None


def save(trained, out):
    model = trained.teacher_embedding_model.wrapped_model.get_model()
    torch.save({"teacher": {"backbone." + k: v.float() for k, v in model.state_dict().items()}}, out)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    pictures, out, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(int(os.environ.get("THREADS", 1)))
    kept = []
    watch(out)
    ended = method.DINOv2.on_train_end if hasattr(method.DINOv2, "on_train_end") else None

    def on_train_end(self):
        kept.append(self)
        return ended(self) if ended else None

    method.DINOv2.on_train_end = on_train_end
    with tempfile.TemporaryDirectory() as work:
        lightly_train.pretrain(
            out=work, data=pictures, model=DINOv2ViTModelWrapper(network()), method="dinov2",
            epochs=1, batch_size=BATCH, num_workers=0, devices=1, accelerator="cpu",
            precision=sys.argv[4] if len(sys.argv) > 4 else "bf16-mixed", overwrite=True,
            method_args={"output_dim": 1024},
            transform_args={"image_size": (56, 56), "local_view": {"num_views": 4, "view_size": (28, 28)}},
            trainer_args={"max_steps": steps, "max_epochs": -1})
    save(kept[0], out)
    spent = stamps[-1] - stamps[0]
    print(f"{len(stamps)} steps, {spent:.0f} s of processor, {BATCH * (len(stamps) - 1) / spent:.1f} pictures a second")


if __name__ == "__main__":
    main()

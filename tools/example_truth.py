#!/usr/bin/env python3
"""What the examples must print for the first drawn scene, from transformers in float64.

Needs torch, torchvision, transformers, scikit-learn and Pillow; run once, its results are
committed in tests/data/examples.  usage: example_truth.py scene1.png tests/data/tiny_cls_hf OUT
"""
import sys

import numpy as np
import torch
from PIL import Image
from sklearn.decomposition import PCA
from torchvision import transforms
from transformers import AutoModelForImageClassification

picture, folder, out = sys.argv[1:]
model = AutoModelForImageClassification.from_pretrained(folder).double().eval()
image = Image.open(picture).convert("RGB")


def view(resize, crop):
    return transforms.Compose([
        transforms.Resize(resize, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(crop),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])(image)[None].double()


with torch.no_grad():
    small = view(256, 224)
    feature = model.dinov2(small).last_hidden_state[0, 0]
    probability = model(small).logits[0].softmax(0).topk(3)
    patches = model.dinov2(view(560, 560)).last_hidden_state[0, 1:].numpy()

np.savetxt(f"{out}/feature.txt", feature.numpy(), fmt="%.6f")
with open(f"{out}/labels.txt", "w") as file:
    for value, index in zip(probability.values, probability.indices):
        file.write(f"{value:.4f} {model.config.id2label[int(index)]}\n")

score = PCA(3, svd_solver="full").fit_transform(patches)
rgb = (score - score.min(0)) / (score.max(0) - score.min(0))
colours = np.floor(rgb * 255 + 0.5).astype(np.uint8).reshape(40, 40, 3)
Image.fromarray(colours).save(f"{out}/colours.png", optimize=True)

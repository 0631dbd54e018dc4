#!/usr/bin/env python3
"""Draws pictures in a row and below them what `dino pca` makes of them, for README and card.

usage: draw_sheet.py OUT.png WIDTH HEIGHT PICTURES... [OPTIONS OF DINO PCA]
Needs Pillow. WIDTH and HEIGHT are multiples of the patch: what the network sees; half is shown.
"""
import os
import subprocess
import sys
import tempfile

from PIL import Image

GAP = 3
out, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
pictures = [a for a in sys.argv[4:] if os.path.isfile(a)]
dino = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "dino")
w, h = width // 2, height // 2
sheet = Image.new("RGB", (len(pictures) * (w + GAP) - GAP, 2 * h + GAP), "white")
with tempfile.TemporaryDirectory() as work:
    subprocess.run([dino, "pca", *sys.argv[4:], "--resize", f"{width}x{height}", "-o", work, "-q"],
                   check=True)
    for i, path in enumerate(pictures):
        name = os.path.splitext(os.path.basename(path))[0] + ".png"
        top, below = Image.open(path), Image.open(os.path.join(work, name))
        sheet.paste(top.convert("RGB").resize((w, h), Image.Resampling.LANCZOS), (i * (w + GAP), 0))
        sheet.paste(below.resize((w, h), Image.Resampling.NEAREST), (i * (w + GAP), h + GAP))
sheet.quantize(256).save(out, optimize=True)

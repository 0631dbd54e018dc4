#!/usr/bin/env python3
"""Draws tests/data/pictures: one small scene in every form of file that Pillow knows.

Needs Pillow 13 and NumPy; run when a form is added. Prints the rows of the table in
tests/unit/test_decode.c: the SHA-256 of what Pillow makes of each file.

usage: make_pictures.py FOLDER
"""
import hashlib
import os
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageDraw, ImageOps

WIDTH, HEIGHT = 121, 93  # odd, and no multiple of any block


def scene():
    """Gradients, edges, saturated colours beside each other, stripes, and noise: what shows
    a wrong filter, a wrong chroma sample or a block in the wrong place."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = (x * 7919 + y * 104729 + x * y * 31) * 2654435761 % 2**32 // 2**24
    sky = np.stack([90 + y, 140 + y, 235 - y + x // 8], 2)
    hill = (x - 85) ** 2 + 9 * (y - 112) ** 2 < 9 * 60**2
    field = y > 62 + (x - 20) ** 2 // 400
    sky[hill] = np.stack([60 + x // 2, 120 + 0 * x, 70 + y // 2], 2)[hill]
    sky[field] = np.stack([70 + noise // 5, 130 + noise // 4, 30 + noise // 6], 2)[field]
    sky += (noise % 7 - 3)[:, :, None]
    image = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8), "RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((90, 6, 110, 26), (255, 240, 80))
    draw.rectangle((18, 40, 52, 68), (235, 225, 205))
    draw.polygon(((14, 40), (35, 22), (56, 40)), (170, 30, 20))
    draw.rectangle((24, 52, 31, 68), (70, 40, 20))
    for i in range(6):  # stripes one pixel wide, red on blue
        draw.line((38 + 2 * i, 48, 38 + 2 * i, 57), (0, 0, 255) if i % 2 else (255, 0, 0))
    draw.line((0, 92, 120, 30), (255, 0, 255))
    draw.rectangle((76, 58, 80, 80), (90, 55, 30))
    draw.ellipse((66, 38, 90, 62), (20, 110, 30))
    for row in range(8):  # black and white squares of one pixel
        for col in range(16):
            on = (row + col) % 2
            image.putpixel((100 + col, 80 + row), (255, 255, 255) if on else (0, 0, 0))
    draw.rectangle((0, 0, 3, 3), (0, 0, 0))
    draw.rectangle((117, 0, 120, 3), (255, 255, 255))
    return image


def opacity():
    """Clear at the left, solid at the right, with a hole."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    alpha = np.clip(x * 3 - 20 + y % 3, 0, 255)
    alpha[(x - 80) ** 2 + (y - 40) ** 2 < 200] = 0
    return Image.fromarray(alpha.astype(np.uint8), "L")


def filtered(rows, pixel):
    """The bytes of rows behind PNG filters 0 1 2 3 4 0 ...; rows [n, bytes], a pixel has
    `pixel` bytes."""
    out = bytearray()
    above = np.zeros(rows.shape[1], int)
    for i, row in enumerate(rows.astype(int)):
        left = np.concatenate([np.zeros(pixel, int), row])[: len(row)]
        corner = np.concatenate([np.zeros(pixel, int), above])[: len(row)]
        p = left + above - corner
        a, b, c = abs(p - left), abs(p - above), abs(p - corner)
        paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))
        guess = (0 * row, left, above, (left + above) // 2, paeth)[i % 5]
        out += bytes([i % 5]) + ((row - guess) % 256).astype(np.uint8).tobytes()
        above = row
    return bytes(out)


def chunk(kind, data):
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def write_png(path, pixels, depth, interlaced):
    """RGB of 8 or 16 bits from pixels [height, width, bytes], with every filter and two
    IDAT chunks, which Pillow cannot write itself."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    raw = b""
    for top, left, down, right in passes:
        part = pixels[top::down, left::right]
        raw += filtered(part.reshape(part.shape[0], -1), pixels.shape[2])
    data = zlib.compress(raw, 9)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, 2, 0, 0, interlaced)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data[:1000]) +
                   chunk(b"IDAT", data[1000:]) + chunk(b"IEND", b""))


def write_all(folder):
    def path(name):
        return os.path.join(folder, name)

    rgb = scene()
    gray = rgb.convert("L")
    turned = Image.Exif()
    turned[0x0112] = 2
    red, green, blue = rgb.split()
    key = ImageOps.invert(gray).point(lambda v: v // 2)
    cmyk = Image.merge("CMYK", (*(ImageOps.invert(c) for c in (red, green, blue)), key))
    cmyk.save(path("gen_cmyk.jpg"), quality=85, subsampling="4:4:4")
    rgb.save(path("gen_exif.jpg"), quality=85, exif=turned)
    rgb.save(path("gen_progressive.jpg"), quality=75, progressive=True, subsampling="4:2:0")
    rgb.save(path("gen_restart.jpg"), quality=75, subsampling="4:2:2", restart_marker_blocks=3)
    rgb.save(path("gen_lossy.webp"), quality=70)

    gray.convert("1").save(path("gen_gray1.png"), optimize=True)
    gray.save(path("gen_gray8.png"), optimize=True)
    deep = np.asarray(gray).astype(np.uint16) * 257
    deep[:24] = deep[:24] // 200  # few enough that clipping at 255 leaves something
    deep[24:] ^= np.asarray(blue)[24:]
    Image.fromarray(deep).save(path("gen_gray16.png"), optimize=True)
    clear = opacity()
    Image.merge("LA", (gray, clear)).save(path("gen_la.png"), optimize=True)
    Image.merge("RGBA", (red, green, blue, clear)).save(path("gen_rgba.png"), optimize=True)
    palette = rgb.quantize(200, dither=Image.Dither.NONE)
    palette.save(path("gen_palette.png"), transparency=3, optimize=True)
    rgb.quantize(16).save(path("gen_palette4.png"), bits=4, optimize=True)
    pixels = np.asarray(rgb)
    write_png(path("gen_interlaced.png"), pixels, 8, 1)
    low = np.asarray(gray)[:, :, None] ^ np.uint8(0x5A)
    wide = np.stack([pixels, np.broadcast_to(low, pixels.shape)], 3)
    write_png(path("gen_rgb16.png"), wide.reshape(HEIGHT, WIDTH, 6), 16, 0)


def row(file, options, image):
    found = hashlib.sha256(image.tobytes()).hexdigest()
    assert image.mode == "RGB" and image.size == (WIDTH, HEIGHT)
    print(f'    {{"{file}", {{{options}}}, "{found}"}},')


def tell(folder):
    for name in sorted(n for n in os.listdir(folder) if n.startswith("gen_")):
        image = Image.open(os.path.join(folder, name))
        row(name, "0", image.convert("RGB"))
        if image.getexif().get(0x0112):
            row(name, ".exif = true", ImageOps.exif_transpose(image).convert("RGB"))
        if "A" in image.mode or "transparency" in image.info:
            white = Image.new("RGBA", image.size, "white")
            white.alpha_composite(image.convert("RGBA"))
            row(name, ".white = true", white.convert("RGB"))
        if image.mode == "I;16":
            high = (np.asarray(image) >> 8).astype(np.uint8)
            row(name, ".gray16_high = true", Image.fromarray(high, "L").convert("RGB"))


write_all(sys.argv[1])
tell(sys.argv[1])

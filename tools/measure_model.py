#!/usr/bin/env python3
"""Measures a model's features as a frozen backbone: nearest neighbours and a linear probe on
Caltech-101 and CIFAR-10, beside the same network untrained and raw pixels. Prints the table.
--card writes it between the markers of a model card; --head writes the probe of Caltech-101 as
a linear head in the official form, HEAD.safetensors, and its classes, HEAD.txt.

Needs NumPy, Pillow and scikit-learn. The features are those of `dino embed`.

usage: measure_model.py MODEL [--untrained MODEL] [--card README.md] [--head HEAD] [--sets NAMES]
"""
import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that spin cost more than they bring
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DINO = os.path.join(TREE, "build", "dino")
SETS = {
    "caltech101": ("Caltech-101", ["train"], ["val"]),
    "cifar10": ("CIFAR-10", ["train-%06d.tar"], ["test-%06d.tar"]),
}


def paths_of(folder, patterns):
    """Folders as they are; shards 0, 1, ... as far as there are any."""
    found = []
    for pattern in patterns:
        names = [pattern % i for i in range(1000)] if "%" in pattern else [pattern]
        found += [p for p in (os.path.join(folder, n) for n in names) if os.path.exists(p)]
    return found


def label_of(name, shards):
    """A picture's class: its folder, or KEY.cls beside KEY.jpg of a shard."""
    path, colon, member = name.rpartition(":")
    if not colon or not path.endswith(".tar"):
        return os.path.basename(os.path.dirname(name))
    if path not in shards:
        with tarfile.open(path) as tar:
            shards[path] = {m.name: tar.extractfile(m).read().decode().strip()
                            for m in tar if m.name.endswith(".cls")}
    return shards[path][os.path.splitext(member)[0] + ".cls"]


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def read_tensors(path, *names):
    """f32 matrices of a .safetensors file, as f64."""
    with open(path, "rb") as file:
        content = file.read()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    for name in names:
        begin, end = header[name]["data_offsets"]
        rows = np.frombuffer(content[8 + size + begin:8 + size + end], "<f4")
        yield rows.reshape(header[name]["shape"]).astype(np.float64)


def embed(arguments, paths, size):
    """{"class token": [n, dim], "patch mean": [n, dim], "both": [n, 2 dim]}, labels [n], names [n]"""
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "features.safetensors")
        command = [DINO, "embed", *paths, *arguments, "-t", "cls,mean", "-o", out, "-q"]
        command += ["--size", str(size)] if size else []
        subprocess.run(command, check=True)
        cls, mean = read_tensors(out, "cls", "mean")
        with open(out + ".json") as file:
            names = json.load(file)["paths"]
    shards = {}
    features = {"class token": cls, "patch mean": mean, "both": np.hstack([cls, mean])}
    return features, np.array([label_of(n, shards) for n in names]), names


def pixels(names):
    """Pictures as 32 x 32 RGB: [n, 3072]"""
    rows, shards = [], {}
    for name in names:
        path, colon, member = name.rpartition(":")
        if colon and path.endswith(".tar"):
            tar = shards.setdefault(path, tarfile.open(path))
            name = io.BytesIO(tar.extractfile(member).read())
        rows.append(np.asarray(Image.open(name).convert("RGB").resize((32, 32)), np.float64).ravel())
    return np.array(rows)


def knn(train, labels, val, truth, k=20, temperature=0.07):
    """As dinov2/eval/knn.py: cosine, votes of weight exp(similarity / temperature)."""
    classes, index = np.unique(labels, return_inverse=True)
    right = 0
    train = unit(train)
    for start in range(0, len(val), 500):
        similarity = unit(val[start:start + 500]) @ train.T
        near = np.argpartition(-similarity, k, axis=1)[:, :k]
        weight = np.exp(np.take_along_axis(similarity, near, 1) / temperature)
        votes = np.zeros((len(near), len(classes)))
        np.add.at(votes, (np.arange(len(near))[:, None], index[near]), weight)
        right += np.sum(classes[votes.argmax(1)] == truth[start:start + 500])
    return 100 * right / len(val)


def linear(train, labels):
    """Multinomial logistic regression on standardised features, whose one setting is chosen on a
    fifth of them: weight [classes, dim] and bias [classes] for features as they are, classes."""
    mean, std = train.mean(0), train.std(0) + 1e-6
    train = (train - mean) / std
    held = np.arange(len(train)) % 5 == 0
    best = max((LogisticRegression(C=c, max_iter=1000, tol=1e-5)
                .fit(train[~held], labels[~held]).score(train[held], labels[held]), -c)
               for c in (1e-4, 1e-3, 1e-2, 1e-1))
    model = LogisticRegression(C=-best[1], max_iter=1000, tol=1e-5).fit(train, labels)
    weight = model.coef_ / std
    return weight, model.intercept_ - weight @ mean, model.classes_


def judge(probe, val, truth):
    weight, bias, classes = probe
    return 100 * np.mean(classes[(val @ weight.T + bias).argmax(1)] == truth)


def write_head(stem, probe):
    weight, bias, classes = probe
    parts = [np.ascontiguousarray(weight, "<f4"), np.ascontiguousarray(bias, "<f4")]
    at, header = 0, {}
    for name, part in zip(("weight", "bias"), parts):
        header[name] = {"dtype": "F32", "shape": part.shape, "data_offsets": [at, at + part.nbytes]}
        at += part.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(stem + ".safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(p.tobytes() for p in parts))
    with open(stem + ".txt", "w") as file:
        file.write("".join(c.replace("_", " ").lower() + "\n" for c in classes))


def measure(name, models, given):
    """Rows of the table of one set: (who, feature, k-NN, linear)."""
    title, train_paths, val_paths = SETS[name]
    folder = os.path.join(given.data, name)
    train_paths, val_paths = paths_of(folder, train_paths), paths_of(folder, val_paths)
    rows = []
    for who, arguments in models:
        train, labels, train_names = embed(arguments, train_paths, given.size)
        val, truth, val_names = embed(arguments, val_paths, given.size)
        for feature in train:
            probe = linear(train[feature], labels)
            rows.append((who, feature, knn(train[feature], labels, val[feature], truth),
                         judge(probe, val[feature], truth)))
            print(title, *rows[-1], file=sys.stderr)
            if given.head and name == "caltech101" and who == "this model" and feature == "both":
                write_head(given.head, probe)
    train, val = pixels(train_names), pixels(val_names)
    middle = train.mean(0)
    rows.append(("raw pixels", "32 x 32 RGB less their mean", knn(train - middle, labels, val - middle, truth),
                 judge(linear(train, labels), val, truth)))
    most = np.unique(labels, return_counts=True)
    guess = 100 * np.mean(truth == most[0][most[1].argmax()])
    rows.append(("the most frequent class", "", guess, guess))
    return f"{title}, {len(labels):,} to learn from, {len(truth):,} to judge", rows


def table(tables):
    lines = []
    for title, rows in tables:
        lines += [f"| {title} | feature | k-NN | linear |", "|---|---|---|---|"]
        lines += [f"| {who} | {feature} | {k:.1f} | {probe:.1f} |" for who, feature, k, probe in rows]
        lines.append("")
    return "\n".join(lines)


def fill(card, text):
    """Replace what stands between <!-- measured --> and <!-- end of measured -->."""
    begin, end = "<!-- measured -->\n", "<!-- end of measured -->"
    with open(card) as file:
        before, _, rest = file.read().partition(begin)
    if end not in rest:
        sys.exit(f"{card}: no place marked {begin.strip()} ... {end}")
    temporary = card + ".tmp"
    with open(temporary, "w") as file:
        file.write(before + begin + text + rest[rest.index(end):])
    os.replace(temporary, card)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--untrained", help="the same network before its first step")
    parser.add_argument("--data", default=os.path.join(TREE, "..", "shared", "data"))
    parser.add_argument("--sets", default="caltech101,cifar10")
    parser.add_argument("--size", type=int, default=0, help="0: as preprocessor_config.json says")
    parser.add_argument("--card")
    parser.add_argument("--head")
    given = parser.parse_args()
    models = [("this model", ["--model", given.model])]
    if given.untrained:
        models.append(("untrained", ["--model", given.untrained]))
    tables = [measure(n, models, given) for n in given.sets.split(",")]
    text = table(tables)
    print(text)
    if given.card:
        fill(given.card, text)


main()

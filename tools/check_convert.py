#!/usr/bin/env python3
"""Do PyTorch and transformers read what `dino convert` writes, and agree with it?

    python3 tools/check_convert.py LIBDINO.so GOLDEN [OFFICIAL]

Needs torch, transformers and (for one row) timm. GOLDEN holds the golden checkpoints, OFFICIAL is a checkout
of facebookresearch/dinov2; without it the rows that load into the official module are left
out. Prints one table: the largest absolute difference of the tokens after the last norm (of
the logits for classifiers) between the loaded file and (a) this library on the same file and
(b) the float64 truth. Exits 1 if anything does not load, has keys too many or too few, or is
off by more than the bound of its dtype.
"""
import ctypes as C
import logging
import os
import sys
import tempfile
import warnings

os.environ["XFORMERS_DISABLED"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")

import numpy as np
import torch
from safetensors.torch import load_file, save_file

DTYPES = {"stored": 100, "f32": 0, "f16": 2, "bf16": 3}
# f32: the golden tolerance. 16 bits: the loaded module and this library run the same rounded
# weights in f32, so only the distance to the truth of the unrounded ones grows.
TRUTH_BOUND = {"stored": 2e-5, "f32": 2e-5, "f16": 2e-2, "bf16": 2e-1}
OURS_BOUND = 2e-5


class Error(C.Structure):
    _fields_ = [("code", C.c_int), ("message", C.c_char * 500)]


class ConvertOptions(C.Structure):
    _fields_ = [("size", C.c_size_t), ("layout", C.c_int), ("dtype", C.c_int),
                ("head", C.c_char_p), ("labels", C.c_char_p), ("heads", C.c_int),
                ("progress", C.c_void_p), ("context", C.c_void_p)]


class ModelOptions(C.Structure):
    _fields_ = [("size", C.c_size_t), ("device", C.c_char_p), ("dtype", C.c_int),
                ("threads", C.c_int), ("head", C.c_char_p), ("labels", C.c_char_p),
                ("positions", C.c_int), ("heads", C.c_int), ("arch", C.c_char_p),
                ("seed", C.c_uint64)]


class Input(C.Structure):
    _fields_ = [("pixels", C.c_void_p), ("planes", C.c_void_p), ("height", C.c_int),
                ("width", C.c_int), ("mask", C.c_void_p), ("mean", C.c_void_p),
                ("std", C.c_void_p)]


class Request(C.Structure):
    _fields_ = [("size", C.c_size_t), ("layers", C.c_void_p), ("layer_count", C.c_int),
                ("raw", C.c_bool), ("prenorm", C.c_bool), ("logits", C.c_bool),
                ("attention", C.c_void_p), ("attention_count", C.c_int),
                ("embeddings", C.c_bool)]


class Features(C.Structure):
    _fields_ = [("rows", C.c_int), ("cols", C.c_int), ("dim", C.c_int),
                ("registers", C.c_int), ("tokens", C.c_int), ("layer_count", C.c_int),
                ("layers", C.c_void_p), ("cls", C.c_void_p), ("registers_data", C.c_void_p),
                ("patches", C.c_void_p), ("layer", C.POINTER(C.POINTER(C.c_float))),
                ("prenorm", C.c_void_p), ("embeddings", C.c_void_p), ("attention", C.c_void_p),
                ("logits", C.POINTER(C.c_float))]


class Dino:
    """The few calls of dino.h that are needed here."""

    def __init__(self, path):
        self.lib = C.CDLL(path)
        for name in ("dino_model_open", "dino_session_new"):
            getattr(self.lib, name).restype = C.c_void_p
        self.lib.dino_result.restype = C.POINTER(Features)
        self.lib.dino_convert.restype = self.lib.dino_run.restype = C.c_bool
        self.error = Error()

    def check(self, ok):
        if not ok:
            raise RuntimeError(self.error.message.decode())
        return ok

    def convert(self, source, to, dtype="stored", heads=0, head=None, labels=None):
        options = ConvertOptions(C.sizeof(ConvertOptions), 0, DTYPES[dtype],
                                 head and head.encode(), labels and labels.encode(), heads)
        self.check(self.lib.dino_convert(source.encode(), to.encode(), C.byref(options),
                                         None, C.byref(self.error)))

    def run(self, path, x, heads=0, head=None, logits=False):
        """Tokens [batch, tokens, dim] or logits [batch, classes] of x [batch, 3, h, w]."""
        options = ModelOptions(size=C.sizeof(ModelOptions), heads=heads,
                               head=head and head.encode())
        model = self.check(self.lib.dino_model_open(path.encode(), C.byref(options),
                                                    C.byref(self.error)))
        session = self.check(self.lib.dino_session_new(C.c_void_p(model), None,
                                                       C.byref(self.error)))
        x = np.ascontiguousarray(x, np.float32)
        inputs = (Input * len(x))(*[Input(planes=plane.ctypes.data, height=x.shape[2],
                                          width=x.shape[3]) for plane in x])
        request = Request(size=C.sizeof(Request), logits=logits)
        self.check(self.lib.dino_run(C.c_void_p(session), inputs, len(x), C.byref(request),
                                     C.byref(self.error)))
        rows = []
        for i in range(len(x)):
            f = self.lib.dino_result(C.c_void_p(session), i).contents
            rows.append(np.ctypeslib.as_array(f.logits, (self.classes(path, head),)).copy()
                        if logits else
                        np.ctypeslib.as_array(f.layer[0], (f.tokens, f.dim)).copy())
        self.lib.dino_session_free(C.c_void_p(session))
        self.lib.dino_model_free(C.c_void_p(model))
        return np.stack(rows)

    @staticmethod
    def classes(path, head):
        if head:
            return torch.load(head, weights_only=True)["bias"].numel()
        return load_file(f"{path}/model.safetensors")["classifier.bias"].numel()


class Table:
    def __init__(self):
        self.failed = False
        print("| written from | as | read by | sizes | loaded - ours | loaded - truth |")
        print("|---|---|---|---|---|---|")

    def row(self, source, target, reader, sizes, ours, truth, dtype="stored"):
        bad = not (ours <= OURS_BOUND) or (truth is not None and
                                           not (truth <= TRUTH_BOUND[dtype]))
        self.failed |= bad
        print(f"| {source} | {target} | {reader} | {sizes} | {ours:.1e} | "
              f"{'-' if truth is None else format(truth, '.1e')} |{' FAILED' if bad else ''}")


def load_hf(folder, classifier):
    from transformers import AutoModel, AutoModelForImageClassification
    kind = AutoModelForImageClassification if classifier else AutoModel
    model, info = kind.from_pretrained(folder, output_loading_info=True,
                                       dtype=torch.float32)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[key]:
            raise RuntimeError(f"{folder}: {key}: {info[key]}")
    return model.eval()


def load_official(path, registers, swiglu, heads, dim):
    from dinov2.models.vision_transformer import DinoVisionTransformer
    state = torch.load(path, weights_only=True)
    model = DinoVisionTransformer(
        img_size=70, patch_size=14, embed_dim=dim, depth=4, num_heads=heads, init_values=1.0,
        ffn_layer="swiglufused" if swiglu else "mlp", block_chunks=0,
        num_register_tokens=registers, interpolate_antialias=registers > 0,
        interpolate_offset=0.0 if registers else 0.1)
    state = {name: value.float() for name, value in state.items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def official_tokens(model, x):
    out = model.forward_features(x)
    return torch.cat([out["x_norm_clstoken"][:, None], out["x_norm_regtokens"],
                      out["x_norm_patchtokens"]], 1)


def worst(pairs):
    return max(float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())
               for a, b in pairs)


def check_to_hf(table, dino, golden, work, model, heads, dtype):
    """Official file -> folder -> transformers."""
    source, folder = f"{golden}/tiny_{model}.pth", f"{work}/{model}-{dtype}"
    dino.convert(source, folder, dtype, heads)
    net = load_hf(folder, False)
    inputs, truth = load_file(f"{golden}/tiny_{model}_out.safetensors"), load_file(
        f"{golden}/tiny_{model}_hf_out.safetensors")
    ours, true = [], []
    for size in ("70x70", "112x112", "70x126"):
        x = inputs[f"{size}.input"]
        with torch.no_grad():
            out = net(x).last_hidden_state.numpy()
        ours.append((out, dino.run(folder, x.numpy())))
        true.append((out, truth[f"{size}.last_hidden_state"].numpy()))
    table.row(os.path.basename(source), f"folder, {dtype}", "transformers", 3, worst(ours),
              worst(true), dtype)


def check_to_official(table, dino, golden, work, model, heads, dim, dtype):
    """Folder -> official file -> torch.load, load_state_dict(strict=True)."""
    source, path = f"{golden}/tiny_{model}_hf", f"{work}/{model}-{dtype}.pth"
    dino.convert(source, path, dtype)
    net = load_official(path, 4 if model == "t2" else 0, model == "t3", heads, dim)
    golden_out = load_file(f"{golden}/tiny_{model}_out.safetensors")
    ours, true = [], []
    for size in ("70x70", "112x112", "70x126"):
        x = golden_out[f"{size}.input"]
        with torch.no_grad():
            out = official_tokens(net, x).numpy()
        ours.append((out, dino.run(path, x.numpy(), heads)))
        cls = golden_out[f"{size}.x_norm_clstoken"][:, None]
        patches = golden_out[f"{size}.x_norm_patchtokens"]
        true.append((out[:, :1], cls.numpy()))
        true.append((out[:, -patches.shape[1]:], patches.numpy()))
    table.row(os.path.basename(source), f".pth, {dtype}", "official code", 3, worst(ours),
              worst(true), dtype)


def check_classifier(table, dino, golden, work, name, size_name):
    """Classifier folder -> backbone, head and labels -> classifier folder."""
    base = f"{work}/{name}"
    dino.convert(f"{golden}/{name}", f"{base}_pretrain.pth")
    dino.convert(f"{base}_pretrain.pth", base, heads=4, head=f"{base}_linear_head.pth",
                 labels=f"{base}_labels.txt")
    net = load_hf(base, True)
    truth = load_file(f"{golden}/{name}_out.safetensors")
    inputs = load_file(f"{golden}/tiny_{size_name}_out.safetensors")
    ours, true = [], []
    for key in (k for k in truth if k.endswith(".logits")):
        size = key.split(".")[0]
        x = inputs[f"{size}.input"]
        with torch.no_grad():
            out = net(x).logits.numpy()
        ours.append((out, dino.run(base, x.numpy(), logits=True)))
        true.append((out, truth[key].numpy()))
    if net.config.id2label[0] != "tench, Tinca tinca":
        raise RuntimeError(f"{base}: label 0 is {net.config.id2label[0]}")
    table.row(name, "backbone + head + labels -> folder", "transformers", len(true),
              worst(ours), worst(true))


def check_timm(table, dino, work):
    """A timm network of random weights -> folder -> transformers, at the stored grid."""
    try:
        import timm
    except ImportError:
        return
    torch.manual_seed(1)
    for name, registers in (("vit_small_patch14_dinov2", 0), ("vit_small_patch14_reg4_dinov2", 4)):
        net = timm.create_model(name, pretrained=False, img_size=70, depth=3).eval()
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p) * 0.05)
        source, folder = f"{work}/{name}.safetensors", f"{work}/{name}"
        save_file(net.state_dict(), source)
        dino.convert(source, folder)
        x = torch.randn(2, 3, 70, 70)
        with torch.no_grad():
            want = net.forward_features(x).numpy()
            out = load_hf(folder, False)(x).last_hidden_state.numpy()
        table.row(f"timm {name}, 3 blocks", "folder", "transformers", 1,
                  worst([(out, dino.run(folder, x.numpy()))]), worst([(out, want)]))


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    logging.disable(logging.WARNING)
    torch.set_num_threads(2)
    dino, golden = Dino(os.path.abspath(sys.argv[1])), sys.argv[2]
    if len(sys.argv) == 4:
        sys.path.insert(0, sys.argv[3])
    table = Table()
    shapes = {"t1": (4, 64), "t2": (4, 64), "t3": (6, 96)}
    with tempfile.TemporaryDirectory() as work:
        for model, (heads, dim) in shapes.items():
            for dtype in ("stored", "f16", "bf16"):
                check_to_hf(table, dino, golden, work, model, heads, dtype)
        if len(sys.argv) == 4:
            for model, (heads, dim) in shapes.items():
                for dtype in ("stored", "f16", "bf16"):
                    check_to_official(table, dino, golden, work, model, heads, dim, dtype)
        check_classifier(table, dino, golden, work, "tiny_cls_hf", "t1")
        check_classifier(table, dino, golden, work, "tiny_cls_reg_hf", "t2")
        check_timm(table, dino, work)
    sys.exit(1 if table.failed else 0)


if __name__ == "__main__":
    main()

cp -r "$DATA/tiny_cls_hf" model
try dino info --json --labels model
dino info --json --tensors model | tail -8

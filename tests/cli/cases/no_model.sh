# Nothing says which model: advice. Names of dino get: where they are missing, advice too.
try dino info
try dino info vits14
try dino info dinov2_vitb14_reg
try dino info vitx14
mkdir -p cache
cp "$DATA/tiny_cls_hf/model.safetensors" cache/dinov2_vits14_reg4_pretrain.pth
DINO_CACHE=cache try dino info vits14_reg | head -2
DINO_CACHE=cache dino get --list | head -3

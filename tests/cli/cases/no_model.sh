# Nothing says which model and none ships with this copy of the program: advice. Names of dino
# get: where they are missing, advice too.
mkdir -p alone/bin
cp "$(command -v dino)" alone/bin
PATH=$PWD/alone/bin:$PATH
dino info >/dev/null 2>&1 && skip "a dino is installed here, with its model"
try dino info
try dino info dino-tiny | sed 's|nor in .*/models|nor in DATADIR/models|'
try dino get dino-tiny | sed 's|nor in .*/models|nor in DATADIR/models|'
try dino info vits14
try dino info dinov2_vitb14_reg
try dino info vitx14
mkdir -p cache
cp "$DATA/tiny_cls_hf/model.safetensors" cache/dinov2_vits14_reg4_pretrain.pth
DINO_CACHE=cache try dino info vits14_reg | head -2
DINO_CACHE=cache dino get --list | head -4

# A download as it should be, its sum, and what happens the second time.
need_curl
mkdir files
cp "$DATA/tiny_cls_hf/model.safetensors" files/dinov2_vits14_pretrain.pth
cp "$DATA/tiny_cls_hf/model.safetensors" files/dinov2_vitb14_reg4_linear4_head.pth
serve files
export DINO_CACHE=cache
try dino get vits14 dinov2_vitb14_reg_lc --base-url "$URL/ok/"
sum=$(sha256sum <files/dinov2_vits14_pretrain.pth)
dino get vits14 --base-url "$URL/none" | grep -c "${sum%% *}"
try dino get vits14 --fresh --base-url "$URL/moved" -q -o here.pth
cmp here.pth files/dinov2_vits14_pretrain.pth
find . -name '*.part*'
ls cache
cat "$SCRATCH/requests"

# What cannot be had leaves nothing behind, and says why in one line.
need_curl
mkdir files
cp "$DATA/tiny_cls_hf/model.safetensors" files/dinov2_vits14_pretrain.pth
serve files
for how in none busy page longer; do
    try dino get vits14 --base-url "$URL/$how" -o $how -q | no_port
done
# libcurl's words changed in version 8
try dino get vits14 --base-url http://127.0.0.1:1 -o closed -q | sed "s/Couldn't/Could not/"
try dino get vits14 --base-url "$URL/ok" -o files -q
try dino get vits14 --base-url "$URL/ok" -o missing/deep/file -q | sed 's/^.* //'
ls -d closed* none* busy* page* 2>/dev/null
find . -name '*.part'

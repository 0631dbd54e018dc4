# Ctrl-C keeps what has arrived, and the next call goes on from there. A full disk likewise.
need_curl
mkdir files
file=dinov2_vits14_pretrain.pth
cp "$DATA/tiny_cls_hf/model.safetensors" files/$file
serve files
try timeout --preserve-status -s INT 2 dino get vits14 --base-url "$URL/slow" -o file
wc -c <file.part
dino get vits14 --base-url "$URL/ok" -o file -q >/dev/null
cmp file files/$file
limited 100 dino get vits14 --base-url "$URL/ok" -o full | sed 's/[0-9]* kB/N kB/'
dino get vits14 --base-url "$URL/ok" -o full -q >/dev/null
cmp full files/$file
find . -name '*.part*'
sed 's/from [0-9][0-9]*/from N/' "$SCRATCH/requests"

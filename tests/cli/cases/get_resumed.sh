# Connections that break, servers that know no ranges, files that change: the file is whole.
need_curl
mkdir files
file=dinov2_vits14_pretrain.pth
cp "$DATA/tiny_cls_hf/model.safetensors" files/$file
serve files
for how in cut norange other; do
    try dino get vits14 --base-url "$URL/$how" -o $how -q | sed 's/^.* /ok /'
    cmp $how files/$file
done
# a part of this very file is gone on with; a whole one is only named; a longer one is dropped
head -c 300000 files/$file >part.part
cp files/$file whole.part
cat files/$file files/$file >long.part
for name in part whole long; do
    dino get vits14 --base-url "$URL/ok" -o $name -q >/dev/null
    echo "-> $?"
    cmp $name files/$file
done
# a part of another version is begun anew
head -c 300000 /dev/zero >stale.part
printf '"two"' >stale.part.tag
dino get vits14 --base-url "$URL/ok" -o stale -q >/dev/null
cmp stale files/$file
find . -name '*.part*'
cat "$SCRATCH/requests"

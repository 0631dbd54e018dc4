# Results come while it works, and it stops when nobody reads them.
cp -r "$DATA/tiny_cls_hf" model
mkdir many
for i in $(seq 1000 2999); do
    ln -s "$DATA/pictures/gen_gray1.png" many/$i.png
done
{ dino classify many --model model --json --size 28; echo "-> $?" >status; } |
    head -1 | cut -d , -f 1
cat status
dino classify many --model model --size 28 >/dev/full
echo "-> $?"

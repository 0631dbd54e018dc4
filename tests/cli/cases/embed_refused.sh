# Wrong calls and places, before any work is done.
cp -r "$DATA/tiny_cls_hf" model
cp "$DATA/pictures/gen_gray8.png" a.png
mkdir empty
export DINO_MODEL=model
try dino embed
try dino embed a.png
try dino embed a.png -o a.txt
try dino embed a.png -o nowhere/a.npy
try dino embed missing.png -o a.npy
try dino embed empty -o a.npy
try dino embed @missing -o a.npy
try dino embed a.png -o a.npy --tokens cls,,mean
try dino embed a.png -o a.npy --tokens registers
for layers in 0 5 4, 3, 1,1 3,2 x 1, -1 ''; do
    try dino embed a.png -o "l.npy" --layers "$layers" -q
done
try dino embed a.png -o a.npy --batch 99999999999999999999
try dino embed a.png -o a.npy --size -14
try dino embed a.png -o a.npy --size 56 --resize 56x56
try dino embed a.png -o a.npy --resize 0x56
try dino embed a.png -o a.npy --device toaster | sed 's|, wanted.*||'
try dino embed a.png -o a.npy --model missing
try dino embed a.png -o a.npy --arch vits15
try dino embed a.png -o a.npy --arch vits14 --model model
try dino embed a.png -o empty
limited 20 dino embed a.png -o a.npy -t patches --size 224 -q
ls

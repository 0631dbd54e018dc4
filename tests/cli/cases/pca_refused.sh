# Wrong calls, places and bases leave nothing behind.
cp -r "$DATA/tiny_cls_hf" model
cp "$DATA/pictures/gen_gray8.png" a.png
: >b.jpg
export DINO_MODEL=model
try dino pca a.png
try dino pca a.png -o out.jpg
try dino pca a.png -o nowhere/out.png
try dino pca a.png -o b.jpg/out
try dino pca a.png -o a.png/
try dino pca a.png -o out.png --save-basis nowhere/basis
try dino pca a.png -o out.png --basis missing
try dino pca a.png -o out.png --basis a.png
try dino pca a.png -o out.png --basis x --plain
try dino pca a.png -o out.png --plain --notebook
try dino pca a.png -o out.png --threshold 1.5
try dino pca b.jpg -o folder
try dino pca a.png b.jpg -o folder --strict
try dino pca missing -o folder
dino pca a.png -o out.png --save-basis basis --size 56 -q
try dino pca a.png -o wrong.png --basis basis --arch vits14 --size 28
limited 20 dino pca a.png -o full.png
ls

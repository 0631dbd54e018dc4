# Labels and probabilities: for people, for programs, and from an official head.
cp -r "$DATA/tiny_cls_hf" model
cp "$DATA/pictures/gen_gray8.png" a.png
cp "$DATA/pictures/gen_lossy.webp" b.webp
: >c.jpg
export DINO_MODEL=model
try dino classify a.png b.webp
try dino classify a.png -k 99 --json | cut -c 1-120
dino classify a.png b.webp c.jpg -k 1 --batch 2 --json | cut -d '}' -f 1
try dino classify c.jpg
try dino classify a.png c.jpg --strict
dino convert model official.pth -q
official="--model official.pth --heads 4 --positions size --head official_linear_head.pth"
try dino classify a.png -k 2 $official
dino classify a.png -k 2 $official --labels official_labels.txt

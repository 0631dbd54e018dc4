# What is measured is there, and is plausible; the numbers are the machine's.
cp -r "$DATA/tiny_cls_hf" model
try dino bench --model model --seconds 0 --size 56 | sed 's/[0-9][0-9.,]*/N/g; s/ .B/ B/g; s/, N % of the N measured here//'
dino bench --model model --seconds 0 --size 56 --batch 3 --threads 1 --json >json
grep -E '"(arch|threads|compute|batch|width|height|passes|gflop_per_image)"' json
dino bench --model model --seconds 0 --size 56 --pipeline "$DATA/pictures" | grep -c '^pipeline '
try dino bench --model model --pipeline
try dino bench --model model a.png
try dino bench --arch vitx14

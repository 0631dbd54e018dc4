# A picture whose view is out of bounds is skipped by name, like an unreadable one.
cp -r "$DATA/tiny_cls_hf" model
cp "$DATA/pictures/gen_gray1.png" a.png
thin="$DATA/shapes/thin.png"
export DINO_MODEL=model
try dino embed a.png "$thin" -o out.npy --view native --size 14 -q | sed "s|$DATA/||g"
dino pca a.png "$thin" -o out.png --view native --size 56 -q 2>&1 | sed "s|$DATA/||g"
try dino embed a.png -o x.npy --size 13
try dino embed a.png -o x.npy --view hf --resize 13x28
sed 's/"resample": 3/"resample": 4/' model/preprocessor_config.json >p.json
cmp -s p.json model/preprocessor_config.json && echo "no change"
mv p.json model/preprocessor_config.json
try dino embed a.png -o x.npy
try dino embed a.png -o small.npy --resize 1x1 -q
ls

# Without a name, commands use the model that ships with the program, wherever both were moved
# to, and say so. Here a tiny one stands in its place.
mkdir -p moved/bin moved/share/dino/models
cp "$(command -v dino)" moved/bin
cp -r "$DATA/tiny_cls_hf" moved/share/dino/models/dino-tiny
PATH=$PWD/moved/bin:$PATH
short()
{
    sed "s|$PWD/||; s/, [0-9.]* s, .* pictures/, N s, N pictures/; s/, [0-9.]* s$/, N s/"
}

try dino doctor | grep '^model' | short
try dino info | short | head -2
dino get --list | head -2
dino get dino-tiny | short
try dino embed "$DATA/pictures/gen_exif.jpg" -o default.npy | short
dino embed "$DATA/pictures/gen_exif.jpg" -o named.npy -m dino-tiny | short
cmp default.npy named.npy
dino embed "$DATA/pictures/gen_exif.jpg" -o quiet.npy -q
dino pca "$DATA/pictures/gen_exif.jpg" -o pca.png --size 56 --plain
dino classify "$DATA/pictures/gen_exif.jpg" --top 1 | tail -1 | sed 's/[0-9.]* %/P %/'
dino bench --size 28 2>&1 | grep 'ships'

# Whoever names one gets that one.
mkdir dino-tiny
try dino info dino-tiny
DINO_MODEL=none try dino doctor | grep '^model'

# The summary is one line; what was skipped is named on standard error.
cp -r "$DATA/tiny_cls_hf" model
mkdir in
cp "$DATA/pictures/gen_gray8.png" in/a.png
: >in/b.jpg
head -c 900 "$DATA/pictures/gen_rgba.png" >in/c.png
cp "$DATA/pictures/gen_gray1.png" in/d.png
export DINO_MODEL=model
dino embed in -o out.npy --size 56 2>skipped | sed 's/[0-9.]* s, [0-9.]* p/N s, N p/'
cat skipped
printf 'in/a.png\nin/d.png\n' >list
dino embed @list -o list.npy --size 56 | cut -d , -f 1,2
dino embed - -o stdin.npy --size 56 <list | cut -d , -f 1,2
cmp list.npy stdin.npy
cmp list.npy out.npy
try dino embed in -o strict.npy --strict
try dino embed in/b.jpg -o none.npy
ls

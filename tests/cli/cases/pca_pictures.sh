# Sheets and folders; a kept basis gives the same colours again, to the byte.
cp -r "$DATA/tiny_cls_hf" model
mkdir in other
cp "$DATA/pictures/gen_gray8.png" in/a.png
cp "$DATA/pictures/gen_lossy.webp" in/b.webp
cp "$DATA/pictures/gen_palette.png" in/c.png
cp "$DATA/pictures/gen_palette.png" other/a.png
: >in/d.jpg
export DINO_MODEL=model
size()
{
    od -A n -t u1 -j 16 -N 8 "$1"
}
try dino pca in -o sheet.png --size 112 --save-basis basis
size sheet.png
dino pca in -o again.png --size 112 --basis basis -q 2>skipped
cat skipped
cmp sheet.png again.png
try dino pca in/a.png in/b.webp in/c.png other -o folder --size 112
ls folder
size folder/a-2.png
cmp folder/c.png folder/a-2.png
for how in --plain --notebook --invert --smooth "--threshold 0.3" "--size 56"; do
    dino pca in/a.png in/b.webp in/c.png -o how.png --size 112 $how -q
    cmp -s sheet.png how.png && echo "$how: no difference"
done
dino pca in/a.png -o wide.png --resize 140x70 -q
size wide.png
ls

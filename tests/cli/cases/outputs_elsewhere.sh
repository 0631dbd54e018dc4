# An output that is a link is written where the link leads; a pipe or device stays what it is.
cp -r "$DATA/tiny_cls_hf" model
export DINO_MODEL=model
cp "$DATA/pictures/gen_rgb16.png" a.png
mkdir far
: >far/p.png
ln -s far/p.png p.png
try dino pca a.png -o p.png -q
[ -L p.png ] && [ -s far/p.png ] && echo "the link leads to the picture"
mkfifo pipe.png pipe.npy
cat pipe.png >through.png &
try dino pca a.png -o pipe.png -q
wait
[ -p pipe.png ] && cmp through.png far/p.png && echo "the pipe carried the picture"
try dino embed a.png -o pipe.npy -q
[ -p pipe.npy ] && echo "and is a pipe"
: >far/e.npy
ln -s far/e.npy e.npy
try dino embed a.png -o e.npy -q
[ -L e.npy ] && [ -s far/e.npy ] && echo "the link leads to the features"
ls . far

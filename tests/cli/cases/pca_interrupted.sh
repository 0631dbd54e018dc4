# Ctrl-C leaves neither a sheet nor a temporary file.
cp -r "$DATA/tiny_cls_hf" model
mkdir many
for i in $(seq 1000 2999); do
    ln -s "$DATA/pictures/gen_gray1.png" many/$i.png
done
try timeout --preserve-status -s INT 0.7 dino pca many --model model -o out.png --size 140 | grep '^->'
dino pca many/1000.png --model model -o one.png --size 56 --plain --save-basis basis -q
mkdir folder
env --default-signal=INT dino pca many --model model -o folder --size 28 --basis basis 2>/dev/null &
for i in $(seq 500); do
    [ -e folder/1003.png ] && break
    sleep 0.02
done
kill -INT $!
wait $!
echo "-> $?"
ls | grep -v folder
[ "$(ls folder | wc -l)" -lt 2000 ] && ls folder | head -1

# Stopped in the middle, the rows so far are kept; the same command gives the same file as a
# run that was left alone.
cp -r "$DATA/tiny_cls_hf" model
mkdir many
for i in $(seq 1000 2999); do
    ln -s "$DATA/pictures/gen_gray1.png" many/$i.png
done
export DINO_MODEL=model
env --default-signal=INT dino embed many -o out.npy --size 28 --batch 4 >said 2>&1 &
for i in $(seq 500); do
    [ -e out.npy.part ] && break
    sleep 0.02
done
kill -INT $!
wait $!
echo "-> $?"
cat said
ls | grep -v '\.part'
dino embed many -o out.npy --size 28 --batch 4 | sed 's,rows.*,rows,'
dino embed many -o straight.npy --size 28 --batch 4 -q
cmp out.npy straight.npy
ls

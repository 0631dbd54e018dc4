# Ctrl-C in the middle of a pass of most of a minute: no waiting for its end.
cp -r "$DATA/tiny_cls_hf" model
env --default-signal=INT dino embed "$DATA/pictures/gen_rgba.png" --model model --size 4200 -o out.npy \
    --threads 1 >said 2>&1 &
for i in $(seq 500); do
    [ -e out.npy.part ] && break
    sleep 0.02
done
sleep 1.5
before=$(date +%s)
kill -INT $!
wait $!
echo "-> $?"
[ $(($(date +%s) - before)) -lt 6 ] && echo soon
cat said
ls

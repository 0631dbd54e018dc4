# A weight that is no number is said by every command that reads weights.
cp -r "$DATA/tiny_cls_hf" model
cp "$DATA/pictures/gen_gray8.png" a.png
size=$(wc -c <model/model.safetensors)
printf '\000\000\300\177' | dd of=model/model.safetensors bs=1 seek=$((size - 4)) conv=notrunc status=none
export DINO_MODEL=model
try dino convert model out.pth
try dino convert model folder -q
dino embed a.png -o a.npy | cut -d , -f 1
dino classify a.png >labels
dino pca a.png -o a-pca.png -q
dino bench --seconds 0 --size 56 >speed

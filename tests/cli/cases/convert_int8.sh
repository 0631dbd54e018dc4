# int8 files: smaller, the same features as quantising at load, and only where dino reads them.
cp -r "$DATA/tiny_cls_hf" model
try dino convert model small.safetensors --dtype int8 -q
dino info small.safetensors | grep -e stored -e head
dino info small.safetensors --tensors | grep 'layer.0.*key'
try dino bench --model small.safetensors --compute auto --size 28 --seconds 0 | grep -o 'threads, .*'
for compute in int8 auto; do
    dino embed "$DATA/pictures" --model small.safetensors --compute $compute --size 70 \
        -o $compute.npy -q --threads 1
done
dino convert model wide.safetensors -q
dino embed "$DATA/pictures" --model wide.safetensors --compute int8 --size 70 -o wide.npy -q \
    --threads 1
cmp int8.npy auto.npy && cmp int8.npy wide.npy && echo the same
try dino convert model x.pth --dtype int8
try dino convert small.safetensors folder
try dino convert small.safetensors folder --dtype f32 -q
dino info folder | grep stored
ls

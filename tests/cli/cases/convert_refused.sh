# Wrong sources and places are named; nothing half-written is left.
cp -r "$DATA/tiny_cls_hf" model
head -c 500000 model/model.safetensors >half
mkdir full
touch full/file
try dino convert missing out.pth
try dino convert half out.pth
try dino convert model full
try dino convert model nowhere/out.pth
try dino convert model
try dino convert model out.pth --dtype f8
try dino convert model out.pth --head missing
limited 300 dino convert model out.pth
limited 300 dino convert model out | sed 's/tmp-[0-9]*/N/'
ls

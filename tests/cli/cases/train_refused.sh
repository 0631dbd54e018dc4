# Wrong calls and settings are answered by one line, before anything is written.
"$TOOLS/draw" pictures >/dev/null
mkdir empty
try dino train
try dino train pictures
try dino train -o run optim.epochs=3
try dino train missing -o run
try dino train empty -o run
try dino train pictures -o run --preset vitx
try dino train pictures -o run --config missing.yaml
try dino train pictures -o run optim.epoch=3
try dino train pictures -o run crops.global_crops_size=100
try dino train pictures -o run --knn-train pictures
try dino train pictures -o run --knn-every 10
try dino train pictures -o run student.pretrained_weights=x.pth
ls
# What only the device refuses leaves no folder either, but one that was there.
mkdir mine
try dino train pictures -o run --device xyzzy
try dino train pictures -o mine --device xyzzy
ls mine
ls

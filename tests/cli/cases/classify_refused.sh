# Models without classes, heads and labels that do not fit.
cp -r "$DATA/tiny_cls_hf" model
cp "$DATA/pictures/gen_gray8.png" a.png
dino convert model official.pth -q
printf 'one\ntwo\n' >two.txt
try dino classify a.png --model official.pth
try dino classify a.png --model official.pth --head model/model.safetensors
try dino classify a.png --model official.pth --head missing
try dino classify a.png --model official.pth --head vits14_linear
try dino classify a.png --model official.pth --head official_linear_head.pth --labels two.txt
try dino classify a.png --model official.pth --head official_linear_head.pth --labels missing
try dino classify a.png --arch vits14 --head official_linear_head.pth
try dino classify a.png --model model -k 0
try dino classify a.png --model model -k 1001

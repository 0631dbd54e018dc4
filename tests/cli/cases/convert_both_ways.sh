# Official and Hugging Face and back: the same weights, and nothing else left lying about.
cp -r "$DATA/tiny_cls_hf" model
try dino convert model official.pth
try dino convert official.pth again --head official_linear_head.pth --labels official_labels.txt
ls official* again
dino info again --labels --json >again.json
dino info model --labels --json >model.json
grep -v '"file"\|"heads"' model.json >a
grep -v '"file"\|"heads"' again.json | diff a -
try dino convert model half.pth --dtype f16 -q
dino info half.pth | grep stored
try dino convert model forced.safetensors --layout official -q
dino info forced.safetensors | sed -n 2p

cp -r "$DATA/tiny_cls_hf" model
try dino info model --labels
try dino info model/model.safetensors -t | sed -n '1,2p;13,20p'
DINO_MODEL=model try dino info | head -1

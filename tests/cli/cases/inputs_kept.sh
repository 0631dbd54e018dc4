# What is read is never written over, under whatever name.
cp -r "$DATA/tiny_cls_hf" model
mkdir in
cp "$DATA/pictures/gen_rgb16.png" in/a.png
ln -s in other
export DINO_MODEL=model
dino convert model m.pth -q
sum()
{
    cat in/* model/* m.pth m_* | cksum
}
before=$(sum)
try dino pca in -o in/a.png
try dino pca in -o other
try dino pca in -o p.png --save-basis in/a.png
try dino pca in -o p.png --save-basis model/model.safetensors
try dino embed in -o model/model.safetensors
try dino convert m.pth m.pth --dtype f16
try dino convert model ./model/model.safetensors
try dino convert m.pth x.pth --head m_linear_head.pth --labels x_labels.txt
cp m_labels.txt x_labels.txt
try dino convert m.pth x.pth --head m_linear_head.pth --labels x_labels.txt
try dino convert m.pth m_linear_head.pth --head m_linear_head.pth
try dino convert m.pth ""
[ "$before" = "$(sum)" ] || echo "an input changed"
ls

# Names may hold anything; a message stays one line, and no terminal is steered by them.
cp -r "$DATA/tiny_cls_hf" model
mkdir in
for name in "$(printf 'a\nb')" "$(printf 'c\033[31m')" "$(printf 'd\377')" -q; do
    cp "$DATA/pictures/gen_gray1.png" "in/$name.png"
done
: >"in/$(printf 'e\nf').png"
export DINO_MODEL=model
dino classify in -k 1 | grep -v % | od -c | cut -c 9-
dino embed in -o out.jsonl -q
wc -l <out.jsonl
(cd in && DINO_MODEL=../model dino embed -o ../dash.npy -q -- -q.png)
ls
mkfifo pipe
try timeout 20 dino info pipe
ln -s loop loop
try dino info loop

# Messages of a closed stream do not get into a result.
cp -r "$DATA/tiny_cls_hf" model
cp "$DATA/pictures/gen_gray8.png" a.png
: >b.png
export DINO_MODEL=model
dino embed b.png a.png -o all.jsonl --size 56 -q 2>/dev/null
dino embed b.png a.png -o some.jsonl --size 56 -q <&- 2>&-
echo "-> $?"
cmp all.jsonl some.jsonl
dino embed b.png a.png -o some.jsonl --size 56 --fresh >&- 2>said
echo "-> $?"
cat said
cmp all.jsonl some.jsonl

# The three forms, what is in them, and the sidecar.
cp -r "$DATA/tiny_cls_hf" model
cp -r "$DATA/pictures" pictures
export DINO_MODEL=model
try dino embed pictures -o all.npy -q
head -c 70 all.npy | tail -c +11 | cut -c 1-60
try dino embed pictures/gen_gray8.png pictures/gen_la.png -o two.jsonl --size 56 -q
wc -l <two.jsonl
try dino embed pictures -o all.safetensors -t cls,mean,patches --layers 2 --size 56 --dtype f16 -q
dino info all.safetensors -t 2>/dev/null | tail -n +3
grep -c gen_ all.npy.json
ls
# Numbers are what was meant, not the nearest binary ones.
grep -o '"mean": .*\|"norm_eps": [^,]*' two.jsonl.json

# Whatever is given as a checkpoint: one clear line, exit status 1.
cp "$DATA/tiny_cls_hf/model.safetensors" whole
: >empty
printf 'hello, this is no checkpoint' >text
head -c 5 whole >five
head -c 4000 whole >header
head -c 500000 whole >half
mkdir folder
try dino info missing
try dino info empty
try dino info text
try dino info five
try dino info header
try dino info half
try dino info folder
try dino info /dev/null
try dino info "$(printf 'a\nb')"
try dino info ""

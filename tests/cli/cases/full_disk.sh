# A result that could not be written is a failure.
[ -w /dev/full ] || skip "no /dev/full"
cp -r "$DATA/tiny_cls_hf" model
dino help >/dev/full
echo "-> $?"
dino info --tensors model >/dev/full
echo "-> $?"
dino info --json model >/dev/full
echo "-> $?"
dino help --man >/dev/full
echo "-> $?"

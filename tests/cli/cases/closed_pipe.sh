# Whoever reads only the head of a list sees no complaint, and gets no more.
cp -r "$DATA/tiny_cls_hf" model
{ sleep 0.3; dino info --tensors model; echo "-> $?" >status; } | true
cat status
{ sleep 0.3; dino help --man; echo "-> $?" >status; } | true
cat status
dino help --man | head -1 | cut -c 1-8

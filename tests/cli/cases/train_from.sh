# A run begins with another run, with its teacher alone, and goes on with larger crops; what
# does not fit is answered by one line.
"$TOOLS/draw" pictures >/dev/null
plain()
{
    sed 's/, [0-9]* threads*/, N threads/; s/[0-9.]* .B of memory/N of memory/; s/about .*/about N/
        s/loss .*/loss N/; s/k-NN [0-9.]*/k-NN N/'
}
quietly()
{
    "$@" --readers 1 --threads 1 --dtype f32 2>&1 | plain | grep -v 'epoch \|about'
}
quietly dino train pictures -o run student.embed_dim=64 student.depth=1 student.num_heads=1 \
    student.patch_size=7 crops.global_crops_size=28 crops.local_crops_size=14 \
    crops.local_crops_number=2 train.batch_size_per_gpu=4 dino.head_n_prototypes=32 \
    dino.head_hidden_dim=32 optim.epochs=40 optim.warmup_epochs=1 -q
ls run
echo "-- new pictures, the run's heads"
quietly dino train pictures -o more --from run optim.epochs=3 optim.warmup_epochs=1
echo "-- the teacher without its heads"
quietly dino train pictures -o alone --from run/teacher.pth optim.epochs=3 \
    optim.warmup_epochs=1 optim.freeze_backbone_epochs=1 train.batch_size_per_gpu=4
grep -A1 pretrained_weights alone/config.yaml
echo "-- larger crops"
quietly dino train pictures -o large --from run --high-res
dino info large/teacher.pth | grep positions
quietly dino train pictures -o large --from run --high-res
echo "-- refused"
try dino train pictures -o no --high-res
try dino train pictures -o no --from missing.pth
try dino train pictures -o no --from pictures
try dino train pictures -o no --from run student.depth=2
try dino train pictures -o no --from run student.num_register_tokens=0
try dino train pictures -o no --from run student.ffn_layer=swiglufused
try dino train pictures -o no MODEL.WEIGHTS=run/teacher.pth
try dino train pictures -o run --from run
ls

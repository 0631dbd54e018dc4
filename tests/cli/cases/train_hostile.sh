# What stands in the way of a run is answered by one line, and what is not its own stays.
"$TOOLS/draw" pictures >/dev/null
tiny="student.embed_dim=64 student.depth=1 student.num_heads=1 dino.head_n_prototypes=32
    dino.head_bottleneck_dim=16 dino.head_hidden_dim=32 train.batch_size_per_gpu=4
    crops.global_crops_size=56 crops.local_crops_size=28 crops.local_crops_number=2
    optim.epochs=3 optim.warmup_epochs=1"
mkdir mine
echo mine >mine/config.yaml
echo mine >mine/notes.tmp-1
try dino train pictures -o mine -q $tiny
cat mine/*
rm -r mine # the cases leave no .tmp- files
touch file
try dino train pictures -o file -q $tiny
try dino train pictures -o file/run -q $tiny
mkdir texts loop control
echo text >texts/a.txt
try dino train texts -o run -q $tiny
ln -s ../loop loop/again
cp pictures/scene1.png loop
try dino train loop -o looped -q $tiny
cp pictures/scene1.png "control/$(printf 'a\nb\033.png')"
echo text >"control/$(printf 'c\nd\033.png')"
try dino train control -o controlled -q $tiny optim.epochs=4
limited 100 dino train pictures -o full -q $tiny
try dino train pictures -o full -q $tiny
rm full/training_metrics.json
mkdir full/training_metrics.json
try dino train pictures -o full -q $tiny
rmdir full/training_metrics.json
truncate -s 3000 full/checkpoints/step-00000003.safetensors
try dino train pictures -o full -q $tiny | sed 's/header of .*/header .../'
try dino train pictures -o nan -q $tiny optim.base_lr=nan
try dino train pictures -o many -q $tiny --micro 5
ls

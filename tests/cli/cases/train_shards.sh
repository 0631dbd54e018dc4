# Shards train, compressed or not, and give the same run; most pictures unreadable is a failure.
"$TOOLS/draw" pictures >/dev/null
cd pictures && tar -cf ../plain.tar scene*.png && gzip -k ../plain.tar && cd ..
tiny="student.embed_dim=64 student.depth=1 student.num_heads=1 dino.head_n_prototypes=32
    dino.head_bottleneck_dim=16 dino.head_hidden_dim=32 train.batch_size_per_gpu=4
    crops.global_crops_size=56 crops.local_crops_size=28 crops.local_crops_number=2
    optim.epochs=3 optim.warmup_epochs=1"
try dino train plain.tar -o plain -q $tiny
try dino train plain.tar.gz -o packed -q $tiny
cmp plain/teacher.pth packed/teacher.pth && echo same teacher
TMPDIR=/nowhere try dino train plain.tar.gz -o elsewhere -q $tiny
head -c 20000 plain.tar.gz >cut.tar.gz
try dino train cut.tar.gz -o cut -q $tiny
mkdir broken
cp pictures/scene1.png broken
for i in 2 3 4 5 6; do echo "no picture" >broken/$i.png; done
try dino train broken -o broken_run -q $tiny optim.epochs=200 2>&1 | sed 's/, 1[0-9]* of [0-9]*/, N of N/; s/the last: .*/the last: .../'
ls

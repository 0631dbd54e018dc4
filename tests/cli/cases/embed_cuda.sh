# Features from a GPU - the emulated one, whose memory the host cannot touch - and what is said when
# it is missing, too old, too small, or vanishes: one line, status 1, and nothing half-written.
export DINO_PLUGINS="$BUILD_DIR/emulated" DINO_EMULATE=guarded
cp -r "$DATA/tiny_cls_hf" model
export DINO_MODEL=model
mkdir few many
for name in gray8 rgba exif la palette; do
    for picture in "$DATA/pictures/gen_$name".*; do
        ln -s "$picture" few
        for i in 1 2 3; do ln -s "$picture" "many/$i-${picture##*/}"; done
    done
done
printf torn >many/2-torn.png
embed()
{
    dino embed "$@" --size 28 --batch 2 --compute f32 -q 2>&1
}
try embed many -o cpu.npy
try embed many -o cuda.npy --device cuda
od -An -v -tf4 -j128 -w4 cpu.npy >cpu
od -An -v -tf4 -j128 -w4 cuda.npy | paste cpu - | awk '
    { d = $1 - $2; if (d * d > 1e-9) print NR, $1, $2; n++ }
    END { print n, "numbers" }'
dino classify few --size 28 --compute f32 >cpu
dino classify few --size 28 --compute f32 --device cuda:1 | cmp - cpu
dino bench --device cuda --seconds 0 --size 28 --batch 2 --pipeline few | grep -c '^pipeline .* waits'

echo "== no GPU to begin with"
for machine in no-driver old-driver no-gpu full; do
    export DINO_EMULATE=$machine
    try embed many -o none.npy --device cuda
done
try dino classify few --device cuda
try dino bench --device cuda
DINO_EMULATE=no-driver try dino classify few --device cuda
DINO_EMULATE=no-driver try dino bench --device cuda
ls

echo "== too little memory, on the way"
export DINO_EMULATE=memory:4
try dino embed few -o none.npy --size 980 --batch 2 -q --device cuda | sed 's/, [0-9]* of/, N of/'
try dino classify few --size 980 --device cuda | sed 's/, [0-9]* of/, N of/'
try dino bench --size 980 --device cuda | sed 's/, [0-9]* of/, N of/'
ls

echo "== it vanishes, wherever that is"
for calls in 0 150 300 375 450; do
    DINO_EMULATE=lost-after:$calls try embed many -o late-$calls.npy --device cuda
done | grep -v warning | sed 's/:0 failed at .*:/:0 fails:/; s/:0: a product:/:0 fails:/' | sort -u
[ -s late-450.npy.part ] && echo "some rows are kept"
DINO_EMULATE=lost try dino classify few --size 28 --device cuda
DINO_EMULATE=lost try dino bench --size 28 --device cuda
ls *.npy
DINO_EMULATE= embed many -o late-450.npy --device cuda | grep -v warning
cmp late-450.npy cuda.npy
rm late*
ls

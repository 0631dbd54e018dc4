#!/bin/sh
# Makes of a training run what ships in models/dino-tiny: weights in bf16, the picture size that it
# is measured with, a linear head for the classes of Caltech-101, and in its card the tables, the
# settings, the curves, the pictures and the checksum. These are only ever filled in from here.
# usage: [EARLIER="RUN1 RUN2"] [SIZE=112] [SETS=caltech101,cifar10] [DATA=DIR] [PYTHON=python3]
# usage:     ship_model.sh RUN [MODEL]
# EARLIER: the runs that RUN went on from. MODEL: RUN/teacher.pth, or another of its networks.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
run=$1 model=${2:-$1/teacher.pth} size=${SIZE:-112} python=${PYTHON:-python3}
dino=build/dino home=models/dino-tiny work=build/ship
rm -rf "$work"
mkdir -p "$work" "$home"
build/draw "$work/scenes"

"$dino" convert "$model" "$work/backbone" --dtype bf16 --size "$size"

# Settings and curves of each run, without the folders of this machine.
stage=0
for each in ${EARLIER:-} "$run"; do
    stage=$((stage + 1))
    sed "s|pretrained_weights:.*|pretrained_weights: ''|" "$each/config.yaml" >"$home/train-$stage.yaml"
    "$dino" train plot "$each" -o "$home/curves-$stage.svg"
done

# The same network as training found it: one step that changes nothing.
"$dino" train "$work/scenes" -o "$work/untrained" -q --config "$home/train-1.yaml" optim.base_lr=0 optim.min_lr=0 \
    optim.epochs=1 optim.warmup_epochs=0 train.OFFICIAL_EPOCH_LENGTH=1 train.batch_size_per_gpu=2 \
    teacher.warmup_teacher_temp_epochs=0
cp "$work/backbone/preprocessor_config.json" "$work/untrained/teacher"

"$python" tools/measure_model.py "$work/backbone" --untrained "$work/untrained/teacher" --card "$home/README.md" \
    --head "$work/head" --sets "${SETS:-caltech101,cifar10}" --data "${DATA:-../shared/data}"
"$dino" convert "$work/backbone" "$work/model" --head "$work/head.safetensors" --labels "$work/head.txt" --dtype bf16
cp "$work"/model/* "$home"
sum=$(sha256sum "$home/model.safetensors" | cut -d' ' -f1)
sed -i "s/^SHA-256.*/SHA-256 of \`model.safetensors\`, $(wc -c <"$home/model.safetensors") bytes: \`$sum\`/" "$home/README.md"

scenes="$work/scenes/scene1.png $work/scenes/scene2.png $work/scenes/scene3.png"
"$python" tools/draw_sheet.py docs/pca.png 560 420 $scenes --plain -m "$home"
"$python" tools/draw_sheet.py "$home/pca.png" 560 420 $scenes -m "$home"
echo "$home holds $model; read its README.md, then commit"

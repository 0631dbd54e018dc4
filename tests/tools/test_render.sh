#!/bin/sh
# Rendered pictures are functions of seed and number, whoever makes them, and enough to train on.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
render=$BUILD_DIR/render

"$render" "$work/whole" 6 7
"$render" "$work/parts" 4 7 2
"$render" "$work/parts" 2 7
diff -r "$work/whole" "$work/parts"
"$render" "$work/other" 6 8
[ "$(cat "$work"/whole/*/*.png "$work"/other/*/*.png | wc -c)" -gt 300000 ]
for file in $(cd "$work/whole" && ls -d */*.png); do
    cmp -s "$work/whole/$file" "$work/other/$file" && { echo "$file: seeds 7 and 8 are alike"; exit 1; }
done
"$render" "$work/none/below" 1 2>"$work/said" && { echo "no folder, no complaint"; exit 1; }
grep -q '^render: .*none/below' "$work/said"
"$render" "$work/whole" 0 2>/dev/null && { echo "no pictures, no complaint"; exit 1; }

"$DINO" train "$work/whole" -o "$work/run" --threads 1 -q optim.epochs=1 optim.warmup_epochs=0 \
    teacher.warmup_teacher_temp_epochs=0 train.batch_size_per_gpu=2 student.embed_dim=64 \
    student.num_heads=1 student.depth=1 dino.head_n_prototypes=32 ibot.head_n_prototypes=32
"$DINO" info "$work/run/teacher" | grep -q '^width         64'
echo "rendered twice alike, and trained on"

# A run on a GPU - the emulated one, whose memory the host cannot touch: its losses are the
# processor's, stopped and gone on it ends with the same bytes, and what cannot be is one line.
export DINO_PLUGINS="$BUILD_DIR/emulated" DINO_EMULATE=guarded
"$TOOLS/draw" pictures >/dev/null
tiny="student.embed_dim=64 student.depth=1 student.num_heads=1 student.drop_path_rate=0.2
    dino.head_n_prototypes=32 dino.head_bottleneck_dim=16 dino.head_hidden_dim=32
    train.batch_size_per_gpu=4 train.OFFICIAL_EPOCH_LENGTH=2 crops.global_crops_size=56
    crops.local_crops_size=28 crops.local_crops_number=2 optim.epochs=2 optim.warmup_epochs=1"
run() # FOLDER OPTION...
{
    folder=$1
    shift
    dino train pictures -o "$folder" -q --readers 1 "$@" $tiny || echo "-> $?"
}
run whole --device cuda --dtype f32
run cpu --device cpu --dtype f32
paste whole/training_metrics.json cpu/training_metrics.json | awk '
    { for (i = 1; i <= NF; i++)
          if ($i ~ /_loss"|grad_norm/) {
              n++
              if (!(key[$i] = !key[$i])) {
                  d = $(i + 1) - value[$i]
                  if (d * d > 1e-8 * value[$i] * value[$i]) print $i, $(i + 1), value[$i]
              }
              value[$i] = $(i + 1) + 0
          } }
    END { print n / 2, "losses and norms" }'

env --default-signal=INT dino train pictures -o parts -q --readers 1 --device cuda:1 \
    --dtype f32 $tiny 2>/dev/null &
while [ ! -s parts/training_metrics.json ]; do sleep 0.01; done
kill -INT $!
wait $!
run parts --device cuda:1
cmp whole/checkpoints/step-00000004.safetensors parts/checkpoints/step-00000004.safetensors

run bf16 --device cuda --checkpointing --micro 2
dino info bf16/teacher | head -1
run other --device cuda:7
DINO_EMULATE=no-gpu run other --device cuda
DINO_EMULATE=full run other --device cuda 2>&1 | sed 's/take .* GB are/take N GB, and N GB are/'
ls

# Ctrl-C saves and says so, the same command goes on, and at the end there is a model.
"$TOOLS/draw" pictures >/dev/null
cat >tiny.yaml <<'END'
student:
  embed_dim: 64
  depth: 1
  num_heads: 1
  patch_size: 14
  num_register_tokens: 4
  interpolate_antialias: true
  interpolate_offset: 0.0
dino:
  head_n_prototypes: 32
  head_bottleneck_dim: 16
  head_hidden_dim: 32
train:
  batch_size_per_gpu: 4
  OFFICIAL_EPOCH_LENGTH: 0
  centering: sinkhorn_knopp
crops:
  global_crops_size: 56
  local_crops_size: 28
  local_crops_number: 2
optim:
  epochs: 150
  warmup_epochs: 1
  base_lr: 0.001
END
plain()
{
    sed 's/, [0-9]* threads*/, N threads/; s/[0-9.]* .B of memory/N of memory/; s/about .*/about N/
        s/loss .*/loss N/; s/step [0-9]* of/step N of/; s/step-[0-9]*/step-N/'
}
env --default-signal=INT dino train pictures -o run --config tiny.yaml --readers 1 \
    --dtype bf16 >said 2>&1 &
for i in $(seq 500); do
    [ -s run/training_metrics.json ] && break
    sleep 0.01
done
kill -INT $!
wait $!
echo "-> $?"
plain <said | grep -v 'epoch \|about'
dino train pictures -o run --config tiny.yaml --readers 1 2>&1 | plain | grep -v "epoch\|about"
wc -l <run/training_metrics.json
ls run run/teacher
dino info run/teacher.pth | head -2
dino info run/teacher | head -2
dino train pictures -o run --config tiny.yaml optim.epochs=151
echo "-> $?"
dino train pictures -o run --config tiny.yaml --dtype f32 2>&1 | plain

# A run in f16 on the emulated GPU: an official config asks for it, its loss is scaled, and
# stopped and gone on it ends with the same bytes, its scale's row of good steps included.
export DINO_PLUGINS="$BUILD_DIR/emulated"
"$TOOLS/draw" pictures >/dev/null
cat >official.yaml <<END
student:
  patch_size: 14
  embed_dim: 64
  depth: 1
  num_heads: 1
  drop_path_rate: 0.2
  layerscale: 0.1
dino: {head_n_prototypes: 32, head_bottleneck_dim: 64, head_hidden_dim: 512, koleo_loss_weight: 0}
train: {batch_size_per_gpu: 4, OFFICIAL_EPOCH_LENGTH: 2}
crops: {global_crops_size: 56, local_crops_size: 28, local_crops_number: 2}
optim: {epochs: 2, warmup_epochs: 1}
teacher: {warmup_teacher_temp_epochs: 1}
END
run() # FOLDER OPTION...
{
    folder=$1
    shift
    dino train pictures -o "$folder" -q --readers 1 --config official.yaml "$@" || echo "-> $?"
}
run whole --device cuda
env --default-signal=INT dino train pictures -o parts -q --readers 1 --device cuda \
    --config official.yaml --dtype f16 2>/dev/null &
while [ ! -s parts/training_metrics.json ]; do sleep 0.01; done
kill -INT $!
wait $!
run parts --device cuda
cmp whole/checkpoints/step-00000004.safetensors parts/checkpoints/step-00000004.safetensors
grep -ao '"\(dtype\|good_steps\|loss_scale\|skipped_steps\)":"[a-z0-9]*"' \
    whole/checkpoints/step-00000004.safetensors | sort
sed 's/.*"loss_scale/"loss_scale/; s/, .teacher.*//; s/}//' whole/training_metrics.json
run whole --device cuda --dtype bf16
run plain --device cuda optim.epochs=1 optim.warmup_epochs=0 \
    compute_precision.grad_scaler=false
sed 's/.*"ibot_loss.*loss_scale.*/scaled/; s/{.*/not scaled/' plain/training_metrics.json
run f32 --device cuda optim.epochs=1 optim.warmup_epochs=0 \
    compute_precision.student.backbone.mixed_precision.param_dtype=fp32
grep -ao '"dtype":"f[0-9]*"' f32/checkpoints/step-00000002.safetensors
run other --device cpu --dtype f16
dino train pictures -o host --readers 1 --config official.yaml optim.epochs=1 optim.warmup_epochs=0 2>&1 | grep 'config means'
ls

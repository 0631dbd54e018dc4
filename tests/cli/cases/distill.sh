# A smaller network learns from a run, then from a model without heads; what the teacher says
# is kept and used again; wrong calls are answered by one line.
"$TOOLS/draw" pictures >/dev/null
cat >tiny.yaml <<'END'
student:
  embed_dim: 64
  depth: 2
  num_heads: 1
  patch_size: 14
  num_register_tokens: 4
  interpolate_antialias: true
  interpolate_offset: 0.0
dino:
  head_n_prototypes: 32
  head_bottleneck_dim: 16
  head_hidden_dim: 32
ibot:
  head_n_prototypes: 24
train:
  batch_size_per_gpu: 4
  OFFICIAL_EPOCH_LENGTH: 2
  centering: sinkhorn_knopp
crops:
  global_crops_size: 56
  local_crops_size: 28
  local_crops_number: 2
optim:
  epochs: 2
  warmup_epochs: 1
  base_lr: 0.001
END
plain()
{
    sed 's/, [0-9]* threads*/, N threads/; s/[0-9.]* .B of memory/N of memory/; s/about .*/about N/
        s/loss .*/loss N/' | grep -v "epoch\|about"
}
dino train pictures -o large --config tiny.yaml --readers 1 -q
distill()
{
    dino distill pictures --config tiny.yaml --readers 1 "$@" 2>&1 | plain
}
distill --teacher large -o small student.depth=1 --cache kept distillation.crop_epochs=1
distill --teacher large -o small2 student.embed_dim=32 --cache kept distillation.crop_epochs=1 |
    grep cache
cmp small/student.pth small2/student.pth >/dev/null || echo different
ls small kept
dino info small/student.pth | head -2
distill --teacher large/teacher.pth -o bare student.depth=1

try dino distill pictures -o run
try dino distill pictures --teacher large
try dino distill pictures --teacher missing -o run
try dino distill pictures --teacher tiny.yaml -o run
try dino distill pictures --teacher large --student vitx14 -o run
try dino distill pictures --teacher large --config tiny.yaml -o run dino.head_n_prototypes=33
try dino distill pictures --teacher large --student vitt16 -o run crops.global_crops_size=64 \
    crops.local_crops_size=32
try dino distill pictures --teacher large --config tiny.yaml -o run ibot.separate_head=true
try dino distill pictures --teacher large --config tiny.yaml -o run \
    ibot.mask_sample_probability=0.5
try dino distill pictures --teacher large --config tiny.yaml -o run --cache kept train.seed=1
limited 40 dino distill pictures --teacher large --config tiny.yaml -o run --cache full -q
ls run

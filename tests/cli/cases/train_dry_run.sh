# What a run takes is told without taking it; what does not fit is a failure.
export DINO_PLUGINS="$BUILD_DIR/emulated"
"$TOOLS/draw" pictures >/dev/null
numbers()
{
    sed 's/fits, .* GB/fits, N GB/; s/fit, .* GB are missing/fit, N GB are missing/; s/[0-9,]* parameters/N parameters/; s/[0-9]*\.[0-9]* GB/N GB/; s/: [0-9]\{4,\}/: N/; s/"traffic": 0/"traffic": none/; s/  *N GB/ N GB/'
}
try dino train --dry-run --dtype f32 --preset vitg14 --ranks 8 --memory 80 | numbers
try dino train --dry-run --dtype f32 --preset vitg14 --memory 10 | numbers
try dino train --dry-run --device cuda --preset vitg14 --ranks 8 --memory 80 | numbers
try dino train --dry-run --device cuda --preset vitg14 --memory 16 --checkpointing | numbers
try dino train pictures --dry-run --dtype f32 --memory 64 student.embed_dim=64 student.num_heads=1 | numbers
try dino train --dry-run --dtype f32 --preset vits14-small-data --memory 64 --json | numbers
try dino train --dry-run
try dino train --dry-run optim.epochs=3
try dino train --dry-run --preset vitx
try dino train --dry-run missing
try dino train pictures -o run --ranks 8
ls
tiny="student.embed_dim=64 student.depth=1 student.num_heads=1 dino.head_n_prototypes=32
    dino.head_bottleneck_dim=16 dino.head_hidden_dim=32 train.batch_size_per_gpu=4
    crops.global_crops_size=56 crops.local_crops_size=28 crops.local_crops_number=2
    optim.epochs=3 optim.warmup_epochs=1"
dino train pictures -o run -q --json $tiny | sed 's/"loss": [0-9.]*/"loss": N/; s/"seconds": [0-9.]*/"seconds": N/'

# Who did not ask for a GPU does not pay for one: its plug-in, and cuBLASLt behind it, stay closed.
export DINO_PLUGINS="$BUILD_DIR/emulated"
"$TOOLS/draw" pictures >/dev/null
opened() # OPTION...
{
    rm -f "$SCRATCH"/opened.*
    LD_DEBUG=files LD_DEBUG_OUTPUT="$SCRATCH/opened" \
        dino embed pictures/scene1.png -m "$DATA/tiny_cls_hf" -o out.npy -q --fresh --threads 1 "$@"
    cat "$SCRATCH"/opened.* | grep -q libdino_cuda && echo opened || echo closed
}
opened
opened --device auto
opened --device cuda

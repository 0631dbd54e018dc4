#!/bin/sh
# The main job in one go: what this machine offers, what is in a checkpoint, what the network
# sees in pictures, and what they show by name. Works without any downloaded weights.
set -eu
cd "$(dirname "$0")/.."
dino=build/dino
out=build/demo
mkdir -p "$out"

show() # run it where people can read what ran
{
    printf '\n$ dino %s\n' "$*"
    "$dino" "$@"
}

# Photographs of the test data where they are, drawn scenes elsewhere.
form=
photos=../shared/data/photos
if [ -d "$photos" ]; then
    cp "$photos/n02094433_Yorkshire_terrier.JPEG" "$photos/n02106662_German_shepherd.JPEG" \
        "$photos/n04399382_teddy.JPEG" "$photos/n02690373_airliner.JPEG" "$out"
    pictures="$out/n02094433_Yorkshire_terrier.JPEG $out/n02106662_German_shepherd.JPEG
        $out/n04399382_teddy.JPEG $out/n02690373_airliner.JPEG"
else
    build/draw "$out"
    form=--plain
    pictures="$out/scene1.png $out/scene2.png $out/scene3.png $out/scene4.png"
fi

show doctor
show info tests/data/tiny_cls_hf
show pca $pictures $form --arch vits14 -o "$out/pca.png"
show classify $pictures --model tests/data/tiny_cls_hf --top 3

cat <<END

Look at $out/pca.png: each picture stands beside its 40 x 40 patches, coloured by the three
directions in which the network's features differ most, so that like parts get like colours.
What the first of these takes for background is black (with --plain nothing is).
The weights are a formula's: they show the machinery at work, not what DINOv2 has learned. With
released weights the colours follow the parts of things, and the names are right:

    build/dino get vits14
    build/dino pca $(echo $pictures | cut -d' ' -f1) --model vits14 -o $out/pca.png
END

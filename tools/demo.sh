#!/bin/sh
# The main job in one go: what this machine offers, what is in a checkpoint, what the network
# sees in pictures, and what they show by name. The model is the one that ships.
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
photos=../shared/data/photos
if [ -d "$photos" ]; then
    cp "$photos/n02094433_Yorkshire_terrier.JPEG" "$photos/n02106662_German_shepherd.JPEG" \
        "$photos/n04399382_teddy.JPEG" "$photos/n02690373_airliner.JPEG" "$out"
    pictures="$out/n02094433_Yorkshire_terrier.JPEG $out/n02106662_German_shepherd.JPEG
        $out/n04399382_teddy.JPEG $out/n02690373_airliner.JPEG"
else
    build/draw "$out"
    pictures="$out/scene1.png $out/scene2.png $out/scene3.png $out/scene4.png"
fi

show doctor
show info
show pca $pictures --plain -o "$out/pca.png"
show classify $pictures --top 3

cat <<END

Look at $out/pca.png: each picture stands beside its 40 x 40 patches, coloured by the three
directions in which the network's features differ most, so that like parts get like colours.
Without --plain, what the first of these takes for background is black.

The model is the small one that ships. It knows the classes of Caltech-101 and no other names:
what is none of these gets the name of what it resembles to it, and models/dino-tiny/README.md
says how often it is right. Released weights see far more:

    build/dino get vits14
    build/dino pca $(echo $pictures | cut -d' ' -f1) --model vits14 -o $out/pca.png
END

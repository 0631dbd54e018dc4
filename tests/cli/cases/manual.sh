# The manual names every command and option, and troff has nothing to say about it.
dino help --man >dino.1
dino help | sed -n 's/^  \([a-z]*\( [a-z]*\)\?\)  .*/\1/p' >commands
while read -r command; do
    grep -q "^.SS \"dino $command " dino.1 || echo "no $command"
    for option in $(dino help $command | grep -o '^ *\(-., \)\?--[a-z0-9-]*' | grep -o '[-][-].*' |
        sed 's/-/\\\\-/g'); do
        grep -q -- "$option" dino.1 || echo "$command: no $option"
    done
done <commands
command -v groff >/dev/null && groff -man -ww -Tutf8 dino.1 >/dev/null
exit 0

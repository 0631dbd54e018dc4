# Without a command there is help, and it is a misuse; asked for, it is not.
dino 2>none.txt
echo "-> $?"
dino help >help.txt
echo "-> $?"
head -3 help.txt
cmp none.txt help.txt
dino --help | cmp - help.txt
dino -h | cmp - help.txt
dino info --help >info.txt
dino help info | cmp - info.txt
dino version | sed 's/[0-9][0-9.]*/N/'
dino --version | sed 's/[0-9][0-9.]*/N/'
# No option's line is wider than a terminal.
for command in info embed pca classify convert train distill get doctor bench; do
    dino help $command | awk 'length > 80 && /^      / && !/ https:/'
done
dino help doctor | sed -n 3p

# The facts that every machine has.
try dino doctor | grep -o '^\(processor\|cores\|instructions\|cpu f32 linear\|cache\|model\) \|^-> .'
dino doctor --json | grep -c '"cores": "[0-9]*",'
DINO_CACHE=here dino doctor | grep '^cache'
DINO_MODEL=none dino doctor | grep '^model'
DINO_ISA=c dino doctor | grep '^instructions' | cut -c 1-26

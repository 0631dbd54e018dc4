# The facts that every machine has.
try dino doctor | grep -o '^\(processor\|cores\|instructions\|cpu linear\|cache\|model\) \|^-> .'
dino doctor --json | grep -c '"cores": "[0-9]*",\|"cpu f32 linear":'
DINO_ISA=c dino doctor | grep '^cpu gelu'
DINO_CACHE=here dino doctor | grep '^cache'
DINO_MODEL=none dino doctor | grep '^model'
DINO_ISA=c dino doctor | grep '^instructions' | cut -c 1-26

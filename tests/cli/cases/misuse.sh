# Each wrong call is one line, the usage, and exit status 2.
try dino inof
try dino xyzzy
try dino info --tensor
try dino info --no-tensor
try dino info --xyzzy
try dino info -x
try dino info --json=yes
try dino info one two
try dino help embedd
try dino help --completion tcsh
try dino help --completion
try dino get
try dino get vits15
try dino get vits14 vitb14 -o one.pth
try dino get vits14 --base-url ftp://mirror

# The curves of a run are drawn, whole or not at all; what is no run is answered by one line.
mkdir run
try dino train plot
try dino train plot run
try dino train plot missing
for i in 0 1 2 3 4; do
    echo "{\"iteration\": $i, \"total_loss\": $((9 - i)), \"lr\": 0.001, \"knn\": 1$i}"
done >run/training_metrics.json
printf '{"iteration": 5, "tot' >>run/training_metrics.json
try dino train plot run
try dino train plot run -o curves.png
try dino train plot run -o curves.gif
try dino train plot run/training_metrics.json
try dino train plot run/training_metrics.json -o run/again.svg
cmp run/curves.svg run/again.svg | sed 's/differ.*/differ by their titles/'
echo nonsense >>run/training_metrics.json
try dino train plot run -o "odd <&> name.svg"
grep -c '<text' run/curves.svg
limited 8 dino train plot run -o big.png
rm run/training_metrics.json
mkdir run/training_metrics.json
try dino train plot run
ls . run

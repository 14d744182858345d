#!/usr/bin/env bash
# The CPU rows of benchmarks/README.md, about 20 minutes on two cores; nothing else should run.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=".venv/bin/headstart bench --device cpu"
for method in simclr byol simsiam; do
  $bench --image-size 64 --method $method --peer lightly --json benchmarks/cpu-$method-64.json
done
# lightly's MoCo uses one view as the query and one as the key; the first line does the same.
$bench --image-size 64 --method moco --peer lightly --set methods.moco.symmetric=false \
  --json benchmarks/cpu-moco-one-way-64.json
$bench --image-size 64 --method moco --peer lightly --json benchmarks/cpu-moco-64.json
$bench --backbone resnet50 --image-size 224 --batch-size 16 --json benchmarks/cpu-resnet50-224.json
$bench --image-size 64 --compile --json benchmarks/cpu-simclr-64-compiled.json

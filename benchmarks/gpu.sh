#!/usr/bin/env bash
# The GPU rows of benchmarks/README.md, about 10 minutes on one GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=".venv/bin/headstart bench --device cuda --peer lightly"
$bench --backbone resnet50 --image-size 224 --batch-size 256 --json benchmarks/gpu-resnet50-224.json
$bench --image-size 64 --batch-size 512 --json benchmarks/gpu-resnet18-64.json
$bench --image-size 64 --batch-size 512 --compile --json benchmarks/gpu-resnet18-64-compiled.json

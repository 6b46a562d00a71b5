#!/usr/bin/env bash
# The tests and the measurements on a GPU, in about ten minutes: first the tests with CuPy's arrays, then the tables of layers,
# language models and decoding beside PyTorch. It needs an NVIDIA GPU, the extras `dev` and `gpu` (or another CuPy for its CUDA), and
# a PyTorch for CUDA. Everything goes into a folder, out/gpu if none is given; its *.md belong into docs/results-log.md.
#
#     benchmarks/gpu.sh [folder]
set -uo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
folder="${1:-out/gpu}"
mkdir -p "$folder"

"$python" -m minigrad doctor | tee "$folder/doctor.txt"
if ! "$python" -c 'import sys; from minigrad.backend import CUPY; sys.exit(not CUPY.find().usable)'; then
    echo "gpu.sh: CuPy finds no GPU; the report above says why" >&2
    exit 1
fi

failed=0
# The tests that ask the fixture `backend` run with the GPU's arrays, too; what is compiled into CUDA graphs has files of its own.
timeout 300 "$python" -m pytest -q -k "cupy or cuda" tests/engine tests/nn tests/nlp > "$folder/tests.txt" 2>&1 || failed=1
tail -n 5 "$folder/tests.txt"

measure() { # the name of a table, then the cases
    local name="$1" only=() case
    shift
    for case in "$@"; do only+=(--only "$case"); done
    timeout 240 "$python" -m benchmarks --device cuda "${only[@]}" --markdown "$folder/$name.md" || failed=1
}
measure layers "layers: LSTM, N" "layers: GRU, N" "layers: RNN, N" "layers: LSTM, random lengths"
measure models "model: " translator
measure decoding "decoding: "
exit "$failed"

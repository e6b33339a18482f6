#!/bin/sh
# Makes the figures of docs/scaling.md:  tools/advise/scaling.sh [DIRECTORY, default docs]
#
# Four models, links of 100 Mbit/s to 400 Gbit/s, 2 to 4096 workers. What is assumed of device, host and link stands in DEVICE below; the
# backward passes are assumptions too, one for each model.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$root/docs}
advise=${ADVISE:-$root/build/tools/psgd-advise}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

DEVICE="--device-gbs 1500 --device-gflops 20000 --launch-us 5 --staging-gbs 20 --staging-latency-us 10 --link-latency-us 10 --host-gbs 20"
LINKS="0.1 1 10 25 100 400"

# draw NAME TITLE MODEL BACKWARD-MS RANKS
draw()
{
    files=""
    for gbps in $LINKS; do
        # shellcheck disable=SC2086 # options are words
        "$advise" --model "$3" $DEVICE --plain direct --finite --backward-ms "$4" --ranks "$5" --link-gbps "$gbps" --workers 16 \
            --json "$work/$1-$gbps.json" >/dev/null
        files="$files $work/$1-$gbps.json"
    done
    # shellcheck disable=SC2086
    "$root/tools/plot-scaling" $files --title "$2" --out "$out/scaling-$1.svg"
    # shellcheck disable=SC2086
    python3 -B "$root/tools/advise/scaling_table.py" "$2" $files
}

draw resnet50 "ResNet-50, backward pass 100 ms, rank 4" resnet50 100 4
draw lstm "LSTM, backward pass 50 ms, rank 4" lstm 50 4
draw gpt2 "GPT-2 small, backward pass 150 ms, rank 32" gpt2 150 32
draw transformer "transformer of 1.3 billion, backward pass 1000 ms, rank 64" "$root/tools/advise/models/transformer-1.3b.txt" 1000 64

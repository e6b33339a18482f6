#!/bin/sh
# Runs a command on Oclgrind's simulated device, and fails where it has anything to say:  run_oclgrind.sh COMMAND...
#
# Oclgrind 21.10 exits with the command's status whatever it has found, so what it wrote is what counts. --uninitialized is left
# out: it reports vectors that have been written as not initialized, and then crashes. Tests fill what kernels write with NaN.
set -u

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

oclgrind --data-races --check-api --max-errors 20 --log "$log" "$@"
status=$?
if [ -s "$log" ]; then
    cat "$log"
    echo "run_oclgrind.sh: Oclgrind has found the above"
    exit 1
fi
exit $status

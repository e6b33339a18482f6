#!/bin/sh
# One of several processes of a test:  mpiexec -n 2 sh worker_cache.sh COMMAND...
#
# Gives the process a kernel cache of its own beside that of the test (see with_kernel_cache.sh, which removes it), by its
# number among the processes. The process takes the place of this script, so that signals and exit status are its own.
set -u

own=$PSGD_TEST_CACHE_COPIES/${PMI_RANK:-0}
if [ ! -d "$own" ]; then
    mkdir -p "$own" && sh "$(dirname "$0")/copy_cache.sh" "$PSGD_TEST_KERNEL_CACHE/pocl" "$own/pocl" || exit 1
fi
POCL_CACHE_DIR=$own/pocl
export POCL_CACHE_DIR
exec "$@"

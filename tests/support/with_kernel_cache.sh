#!/bin/sh
# Runs one test with compiled kernels at hand:  with_kernel_cache.sh PLATFORM COMMAND...
#
# Compiling with a cold cache takes PoCL seconds a program, and processes that compile at the same moment race on its
# cache. So $PSGD_TEST_KERNEL_CACHE holds what was compiled before (the seed). This script copies it for the command,
# runs the command, hands what was compiled in addition back to the seed, and removes the copy. Processes that the
# command starts side by side each take a copy of their own: worker_cache.sh.
#
# PLATFORM: pocl, rusticl, mixed or oclgrind. Exits with 77 (skipped) where it is not installed.
set -u

platform=$1
shift

skip()
{
    echo "skipped: $1"
    exit 77
}

case $platform in
rusticl | mixed)
    [ -e /etc/OpenCL/vendors/rusticl.icd ] || skip "no rusticl.icd in /etc/OpenCL/vendors (Debian: mesa-opencl-icd)"
    ;;
oclgrind)
    command -v oclgrind >/dev/null || skip "no oclgrind (Debian: oclgrind)"
    ;;
esac

seed=$PSGD_TEST_KERNEL_CACHE
mkdir -p "$seed/pocl" "$seed/mesa" "$seed/programs" "$seed/copies" || exit 1

# Copies left behind by tests that were killed.
find "$seed/copies" -mindepth 1 -maxdepth 1 -mmin +120 -exec rm -rf {} +

copy=$(mktemp -d "$seed/copies/XXXXXX") || exit 1
trap 'rm -rf "$copy"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

sh "$(dirname "$0")/copy_cache.sh" "$seed/pocl" "$copy/pocl" || exit 1
: >"$copy/copied"

# Messages between the processes of this machine through shared memory alone: containers often forbid process_vm_readv, which
# UCX would choose, and with tcp in the list MPICH 4.0 sometimes never returns from MPI_Finalize.
: "${UCX_TLS=sysv,self}"
export UCX_TLS

PSGD_TEST_CACHE_COPIES=$copy POCL_CACHE_DIR=$copy/pocl MESA_SHADER_CACHE_DIR=$seed/mesa "$@"
status=$?

# Each file gets its name when it is whole, so that a test that copies the seed at this moment gets whole files.
if [ $status -eq 0 ]; then
    for cache in "$copy/pocl" "$copy/0/pocl"; do
        [ -d "$cache" ] || continue
        (cd "$cache" && find . -type f -newer "$copy/copied" ! -name 'tempfile*' ! -name '*.lock') |
            while IFS= read -r file; do
                [ -e "$seed/pocl/$file" ] && continue
                mkdir -p "$seed/pocl/$(dirname "$file")"
                cp "$cache/$file" "$copy/incoming" && mv "$copy/incoming" "$seed/pocl/$file"
            done
    done
fi
exit $status

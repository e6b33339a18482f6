#!/bin/sh
# Shows what libpsgd does:  sh tools/demo.sh
#
# Installs what is missing (see tools/install_packages.sh), builds, and trains the same network on Fashion-MNIST twice with
# two workers: once averaging whole gradients, once with PowerSGD. Options are handed to psgd-train:
#   sh tools/demo.sh --rank 2
set -eu
cd "$(dirname "$0")/.."
. tools/install_packages.sh

log=build/demo.log
train=build/tools/psgd-train

# Runs a step of the build; its output is shown only if it fails.
quietly()
{
    "$@" >>"$log" 2>&1 || {
        cat "$log" >&2
        echo "Failed: $*" >&2
        exit 1
    }
}

psgd_install_packages $PSGD_BUILD_PACKAGES

mkdir -p build
: >"$log"
echo "Building in build/ ..."
quietly cmake --preset release
quietly cmake --build --preset release -j "$(getconf _NPROCESSORS_ONLN)" --target psgd-train psgd-devicequery

mpiexec=$(sed -n 's/^MPIEXEC_EXECUTABLE:[A-Z]*=//p' build/CMakeCache.txt)
if [ -e /.dockerenv ] || [ -e /run/.containerenv ]; then
    # Containers often forbid process_vm_readv, which UCX would choose for messages between processes.
    : "${UCX_TLS=sysv,self}"
    export UCX_TLS
fi

# One process first: workers that compile the same kernels at the same moment would get in each other's way.
echo "Compiling the kernels for this machine's device. The first time this can take a minute; the driver keeps them ..."
quietly "$train" --model mlp --compare --steps 2
quietly "$train" --model cnn --compare --steps 2

echo "Training on two workers, with plain averaging and with PowerSGD ..."
"$mpiexec" -n 2 "$train" --model mlp --compare "$@"

run="${mpiexec##*/} -n 2 $train"
cat <<END

To try next:
  $run --model cnn --compare
      a convolutional network
  $run --model mlp --rank 1 --compare
      fewer bytes still
  build/tools/psgd-devicequery
      this machine's OpenCL devices, and whether they are ready for libpsgd
  sh tests/run.sh
      all tests
END

#!/bin/sh
# Tests everything:  sh tests/run.sh
#
# Installs what is missing (see tools/install_packages.sh), builds with warnings as errors, and runs all tests; then builds
# with AddressSanitizer and UndefinedBehaviorSanitizer and runs those tests again that touch the library itself (label
# sanitize), with fewer shapes; then builds with ThreadSanitizer what runs on several threads and needs no device (label
# threads), and runs that. Fails where anything fails.
set -eu
cd "$(dirname "$0")/.."
. tools/install_packages.sh

jobs=$(getconf _NPROCESSORS_ONLN)

# Configures, builds and tests one preset. Its last lines are ctest's summary.
run_preset()
{
    echo "== $1: configure and build"
    cmake --preset "$1" --log-level=WARNING -DPSGD_WARNINGS_AS_ERRORS=ON || return 1
    cmake --build --preset "$1" -j "$jobs" || return 1
    echo "== $1: test"
    ctest --preset "$1" -j "$jobs"
}

psgd_install_packages $PSGD_BUILD_PACKAGES $PSGD_TEST_PACKAGES

status=0
run_preset release || status=1
run_preset asan || status=1
run_preset tsan || status=1
exit $status

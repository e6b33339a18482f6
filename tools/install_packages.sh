# Installs what the build needs, where something is missing. To be sourced:
#
#   . tools/install_packages.sh
#   psgd_install_packages $PSGD_BUILD_PACKAGES
#
# Debian and Ubuntu: by apt-get, with sudo where the user is not root; no network is used where all is installed. Other
# systems: prints what to install and goes on, so that the build tells what it misses.

# A compiler and cmake; OpenCL's loader, CLBlast, and PoCL as a device that every machine has; MPI; what the library, its
# tests and the example of training include; the data sets of that example.
PSGD_BUILD_PACKAGES="gcc libc6-dev make cmake pkg-config ocl-icd-opencl-dev libclblast-dev pocl-opencl-icd mpich
    libmpich-dev check zlib1g-dev librandom123-dev dataset-fashion-mnist bible-kjv bible-kjv-text"

# Two more OpenCL implementations, which behave differently from PoCL; what lists them; the lint checks' language; libFuzzer;
# links between emulated hosts; singular values for two of psgd-train's compressors.
PSGD_TEST_PACKAGES="oclgrind mesa-opencl-icd clinfo python3 clang libclang-rt-14-dev iproute2
    liblapacke-dev"

# Prints those of the given packages that are not installed.
psgd_missing_packages()
{
    for package in "$@"; do
        case $(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null) in
        *installed*) ;;
        *) echo "$package" ;;
        esac
    done
}

psgd_as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        echo "Not root, and there is no sudo. As root, run: $*" >&2
        return 1
    fi
}

# Returns 0 where all given packages are installed in the end, or where this is not for us to say.
psgd_install_packages()
{
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "This is not Debian or Ubuntu, so nothing is installed. What is needed goes there by these names:"
        echo "   " "$@"
        return 0
    fi
    missing=$(psgd_missing_packages "$@")
    if [ -z "$missing" ]; then
        return 0
    fi
    echo "Installing:" $missing
    psgd_as_root apt-get update -qq &&
        psgd_as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        {
            echo "Installing failed. These packages are needed:" $missing >&2
            return 1
        }
}

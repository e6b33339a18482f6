"""Installs the library into a temporary prefix and uses it from there, as README.md says and without MPI.

check_consumer.py CMAKE C_COMPILER

README.md's example, its CMakeLists.txt and its compiler line are taken from README.md itself.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ["PSGD_TEST_SOURCE_DIR"])
BINARY = pathlib.Path(os.environ["PSGD_TEST_BINARY_DIR"])
CMAKE, CC = sys.argv[1:3]
README = (SOURCE / "README.md").read_text(encoding="utf-8")

# Installed, relative to the prefix; {lib} is lib, lib64 or lib/x86_64-linux-gnu.
INSTALLED = """
include/psgd/psgd.h include/psgd/psgd_mpi.h
{lib}/libpsgd.so {lib}/libpsgd.so.0 {lib}/libpsgd.so.0.1.0 {lib}/libpsgd.a
{lib}/libpsgd_mpi.so {lib}/libpsgd_mpi.so.0 {lib}/libpsgd_mpi.so.0.1.0 {lib}/libpsgd_mpi.a
{lib}/pkgconfig/psgd.pc {lib}/pkgconfig/psgd_mpi.pc
{lib}/cmake/psgd/psgdConfig.cmake {lib}/cmake/psgd/psgdConfigVersion.cmake {lib}/cmake/psgd/psgdTargets.cmake
{lib}/cmake/psgd/psgdStaticTargets.cmake {lib}/cmake/psgd/psgdMpiTargets.cmake
{lib}/cmake/psgd/psgdMpiStaticTargets.cmake
bin/psgd-advise bin/psgd-bench bin/psgd-devicequery bin/psgd-train
"""


def run(command, **options):
    """Runs a command and returns what it printed; the test ends where it fails."""
    shell = isinstance(command, str)
    done = subprocess.run(command, shell=shell, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        sys.exit("failed: %s\n%s" % (command if shell else " ".join(map(str, command)), done.stdout))
    return done.stdout


def readme_block(language, containing):
    """The text of README.md's ```language block that contains the given words."""
    blocks = re.findall(r"^```%s\n(.*?)^```" % language, README, flags=re.MULTILINE | re.DOTALL)
    matching = [block for block in blocks if containing in block]
    if len(matching) != 1:
        sys.exit("README.md has %d ```%s blocks with '%s', expected one" % (len(matching), language, containing))
    return matching[0]


def install(prefix):
    run([CMAKE, "--install", BINARY, "--prefix", prefix])
    lib = next(prefix.glob("**/libpsgd.so")).parent
    expected = set(INSTALLED.format(lib=lib.relative_to(prefix)).split())
    found = {str(path.relative_to(prefix)) for path in prefix.glob("**/*") if not path.is_dir()}
    found = {name for name in found if not re.search(r"Targets-\w+\.cmake$", name)}
    if found != expected:
        sys.exit("installed and not expected: %s\nexpected and not installed: %s" %
                 (sorted(found - expected), sorted(expected - found)))
    return lib


def check_example(program, environment):
    """Two workers whose gradients are 1 and 2 everywhere both end with 1.5."""
    output = run([os.environ["PSGD_TEST_MPIEXEC"], "-n", "2", "sh", os.environ["PSGD_TEST_WORKER_CACHE"], program],
                 env=environment)
    lines = sorted(output.splitlines())
    expected = readme_block("text", "worker 0").splitlines()
    if lines != expected:
        sys.exit("README.md's example printed\n%s\nand README.md says\n%s" % ("\n".join(lines), "\n".join(expected)))


def configure_and_build(folder, prefix):
    run([CMAKE, "-S", folder, "-B", folder / "build", "-DCMAKE_C_COMPILER=" + CC, "-DCMAKE_PREFIX_PATH=%s" % prefix])
    run([CMAKE, "--build", folder / "build"])


def example_by_cmake(folder, prefix, environment):
    folder.mkdir()
    (folder / "example.c").write_text(readme_block("c", "psgd_comm_mpi_create"))
    (folder / "CMakeLists.txt").write_text(readme_block("cmake", "find_package(psgd"))
    configure_and_build(folder, prefix)
    check_example(folder / "build" / "example", environment)


def example_by_pkg_config(folder, environment):
    folder.mkdir()
    (folder / "example.c").write_text(readme_block("c", "psgd_comm_mpi_create"))
    run(readme_block("sh", "pkg-config"), cwd=folder, env=environment)
    check_example(folder / "example", environment)


def core_by_cmake(folder, prefix, environment):
    folder.mkdir()
    shutil.copy(HERE / "core_only.c", folder)
    shutil.copy(HERE / "core_only.cmake", folder / "CMakeLists.txt")
    configure_and_build(folder, prefix)
    for program in ("with_shared", "with_static"):
        run([folder / "build" / program], env=environment)
        needed = "libpsgd" in run(["ldd", folder / "build" / program], env=environment)
        if needed != (program == "with_shared"):
            sys.exit("%s %s libpsgd.so" % (program, "needs" if needed else "does not need"))


def core_by_pkg_config(folder, lib, environment):
    folder.mkdir()
    run("%s -std=c11 %s -o with_shared $(pkg-config --cflags --libs psgd) -lm" % (CC, HERE / "core_only.c"),
        cwd=folder, env=environment)
    flags = run("pkg-config --static --cflags --libs psgd", env=environment).replace("-lpsgd", str(lib / "libpsgd.a"))
    run("%s -std=c11 %s -o with_static %s" % (CC, HERE / "core_only.c", flags.strip()), cwd=folder, env=environment)
    for program in ("with_shared", "with_static"):
        run([folder / program], env=environment)


def installed_tools(prefix):
    """They find the installed library by themselves."""
    for tool in ("psgd-bench", "psgd-devicequery", "psgd-train"):
        version = run([prefix / "bin" / tool, "--version"])
        if "0.1.0" not in version:
            sys.exit("%s --version printed: %s" % (tool, version))


def other_versions_are_refused(folder, prefix):
    for version in ("0.2", "1.0"):
        path = folder / version
        path.mkdir(parents=True)
        (path / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.22)\nproject(p C)\nfind_package(psgd %s REQUIRED)\n" % version)
        done = subprocess.run([CMAKE, "-S", path, "-B", path / "build", "-DCMAKE_PREFIX_PATH=%s" % prefix],
                              text=True, capture_output=True)
        if done.returncode == 0 or "version: 0.1.0" not in done.stderr:
            sys.exit("find_package(psgd %s) did not say that only 0.1.0 is there:\n%s" % (version, done.stderr))


with tempfile.TemporaryDirectory(prefix="psgd-consumer-") as temporary:
    root = pathlib.Path(temporary)
    installed = root / "first place"
    lib = install(installed)
    # What was installed works where it was moved to.
    prefix = root / "prefix"
    installed.rename(prefix)
    lib = prefix / lib.relative_to(installed)
    environment = dict(os.environ, PKG_CONFIG_PATH=str(lib / "pkgconfig"), LD_LIBRARY_PATH=str(lib))

    example_by_cmake(root / "example-cmake", prefix, environment)
    example_by_pkg_config(root / "example-pkg-config", environment)
    core_by_cmake(root / "core-cmake", prefix, environment)
    core_by_pkg_config(root / "core-pkg-config", lib, environment)
    installed_tools(prefix)
    other_versions_are_refused(root / "versions", prefix)
print("installed, moved, and used by CMake and by pkg-config, shared and static")

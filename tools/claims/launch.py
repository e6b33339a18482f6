"""Starts psgd-train for one run, over a link, and returns its JSON."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TWO_HOSTS = ROOT / "tools" / "two-hosts"
MEMORY = "memory"
# A burst of 12 KiB lasts 0.1 ms at 1 Gbit/s: messages of 64 KiB, too, are held to the rate.
LINKS = {MEMORY: None, "1gbit": ("--rate", "1gbit", "--burst", "12kb"), "100mbit": ("--rate", "100mbit")}
RATES = {"1gbit": 1e9, "100mbit": 1e8}  # bit/s
UNUSABLE, REFUSED, TIMED_OUT = 121, 122, 124  # exit statuses of two-hosts
ATTEMPTS = 4
DIVERGED = "the training diverged"


class Failed(Exception):
    """A run went wrong; the sentence says how."""


class Diverged(Failed):
    """That is a result: the parameters have left the finite numbers."""


def default_mpiexec():
    """The mpiexec of the MPI that the build found."""
    try:
        cache = (ROOT / "build" / "CMakeCache.txt").read_text(encoding="utf-8")
    except OSError:
        cache = ""
    found = re.search(r"^MPIEXEC_EXECUTABLE:\w+=(.+)$", cache, re.MULTILINE)
    return found.group(1) if found else shutil.which("mpiexec.mpich") or "mpiexec"


def output_of(*command):
    """What a command prints; empty where it does not run."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def reason(text):
    """What a failed run says of itself, where mpiexec has added its own lines."""
    own = [line for line in text.splitlines() if line.startswith(("psgd-train: ", "two-hosts: "))
           and not line.startswith("psgd-train: compiling")]
    return (own or text.strip().splitlines() or ["no output"])[-1]


class Trainer:
    """psgd-train as it is on this machine."""

    def __init__(self, train, mpiexec):
        self.train, self.mpiexec = pathlib.Path(train), mpiexec
        if not os.access(self.train, os.X_OK):
            raise Failed("%s is not there: build it (cmake --build --preset release), or name it by --train" % self.train)
        self.version = output_of(self.train, "--version").strip()
        if not self.version:
            raise Failed("%s --version says nothing: it does not run" % self.train)
        self.build = self.digest()
        self.tests_along_the_way = "--test-every" in output_of(self.train, "--help")

    def digest(self):
        """Of the program and the libraries of the project that it loads: results of one version may come of several builds."""
        libraries = re.findall(r"=> (\S*libpsgd\S*)", output_of("ldd", self.train))
        total = hashlib.sha256()
        for path in [self.train, *sorted(libraries)]:
            total.update(pathlib.Path(path).read_bytes())
        return total.hexdigest()[:16]

    def command(self, link, workers, arguments, timeout):
        program = [str(self.train.resolve()), *arguments]
        if link == MEMORY:
            return [self.mpiexec, "-n", str(workers), *program]
        return [sys.executable, "-B", str(TWO_HOSTS), *LINKS[link], "--timeout", str(int(timeout)), "--mpiexec", self.mpiexec,
                "--", *program]

    def environment(self, link):
        """One thread a worker. Messages within a machine go through its memory: containers often forbid process_vm_readv, which
        UCX would choose."""
        variables = dict(os.environ, POCL_MAX_PTHREAD_COUNT="1", LP_NUM_THREADS="1")
        if link == MEMORY:
            variables.setdefault("UCX_TLS", "sysv,self")
        return variables

    def attempt(self, link, workers, arguments, timeout):
        """Exit status, JSON or None, and what was said."""
        with tempfile.TemporaryDirectory(prefix="evidence-") as directory:
            result, said = pathlib.Path(directory) / "result.json", pathlib.Path(directory) / "stderr"
            command = self.command(link, workers, [*arguments, "--json", str(result)], timeout)
            with open(said, "w+", encoding="utf-8") as errors:
                status = run(command, self.environment(link), errors, timeout + 60)
                errors.seek(0)
                words = errors.read()
            try:
                document = json.loads(result.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                document = None
            return status, document, words

    def results(self, link, workers, arguments, timeout):
        """psgd-train's JSON. Links that a busy machine does not hold to their rate are tried again."""
        for _ in range(ATTEMPTS):
            status, document, words = self.attempt(link, workers, arguments, timeout)
            # MPICH 4.0 sometimes never returns from MPI_Finalize over TCP, with all results written.
            if document is not None and status in (0, TIMED_OUT):
                return document
            if DIVERGED in words:
                raise Diverged(reason(words))
            if link == MEMORY or status not in (REFUSED, TIMED_OUT):
                break
        raise Failed("%s (exit status %s)" % (reason(words), status))


def run(command, environment, errors, timeout):
    """Exit status, TIMED_OUT where it had to be stopped. Whatever ends this process ends the command too."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
    except OSError as error:
        raise Failed("%s: %s" % (command[0], error.strerror)) from None
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return TIMED_OUT
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)  # mpiexec ends the workers, two-hosts the hosts
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def why_no_links(mpiexec):
    """Why there are no emulated hosts on this machine: a sentence; None where there are."""
    done = subprocess.run([sys.executable, "-B", str(TWO_HOSTS), "--mpiexec", mpiexec, *LINKS["100mbit"], "--", "true"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return reason(done.stderr) if done.returncode == UNUSABLE else None

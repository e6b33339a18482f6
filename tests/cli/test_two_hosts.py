"""two-hosts: wrong use; and, where this machine lets us have network namespaces, real runs.

test_two_hosts.py SOURCE-DIRECTORY usage
test_two_hosts.py SOURCE-DIRECTORY run PSGD-BENCH

A run's processes carry a variable of their own in their environment. Its namespaces last as long as these processes, so that
nothing is left behind where none of them is.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(sys.argv[1])
TOOL = ROOT / "tools" / "two-hosts"
MPIEXEC = ["--mpiexec", os.environ["PSGD_TEST_MPIEXEC"]] if "PSGD_TEST_MPIEXEC" in os.environ else []
SKIPPED = 77
SECONDS = 120  # that a run may take on a busy machine; not what one takes
MARK = "TWO_HOSTS_TEST"
# A link that holds even the first message to its rate on any machine: 64 KiB less a burst of 12 take 1/1.17 of the time of 64.
LINK = ("--rate", "1gbit", "--burst", "12kb")
failures = 0


def check(what, holds, done=None):
    global failures
    print("%s  %s" % ("ok    " if holds else "FAILED", what), flush=True)
    if not holds:
        failures += 1
        if done is not None:
            print("  exit status %s\n  stdout: %s\n  stderr: %s" % (done.returncode, done.stdout, done.stderr))


def run(*arguments, **options):
    return subprocess.run([sys.executable, "-B", str(TOOL), *MPIEXEC, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=SECONDS, **options)


def is_one_sentence(done):
    return done.stderr.startswith("two-hosts: ") and done.stderr.count("\n") == 1 and done.stdout == ""


# --- Wrong use, and machines that cannot ------------------------------------------------------------------------------


def check_bad_use():
    program = ("--", "/bin/true")
    cases = {
        "a rate in words": (("--rate", "fast", *program), "rate"),
        "a unit that tc does not know": (("--rate", "1gb", *program), "rate"),
        "a rate of nothing": (("--rate", "0gbit", *program), "rate"),
        "a rate below 1 Mbit/s": (("--rate", "100kbit", *program), "rate"),
        "a rate above 100 Gbit/s": (("--rate", "1tbit", *program), "rate"),
        "one host": (("--hosts", "1", *program), "2 to 4"),
        "five hosts": (("--hosts", "5", *program), "2 to 4"),
        "hosts in words": (("--hosts", "two", *program), "2 to 4"),
        "no workers": (("--workers-per-host", "0", *program), "1 to 64"),
        "a burst below a frame": (("--burst", "1kb", *program), "burst"),
        "a burst in words": (("--burst", "x", *program), "burst"),
        "no time": (("--timeout", "0", *program), "timeout"),
        "a file in no directory": (("--json", "/nonexistent/hosts.json", *program), "/nonexistent/hosts.json"),
        "an unknown option": (("--speed", "1gbit", *program), ""),
        "no program": ((), "no program to run"),
        "no program behind --": (("--rate", "1gbit", "--"), "no program to run"),
        "a program that is not there": (("--", "/nonexistent/program"), "/nonexistent/program"),
        "a program that is none": (("--", str(ROOT / "README.md")), "README.md"),
    }
    for what, (arguments, word) in cases.items():
        done = run(*arguments)
        check("%s: one sentence, exit 120" % what, done.returncode == 120 and is_one_sentence(done) and word in done.stderr, done)
    check("--help explains itself", run("--help").returncode == 0)


def make_program(directory, name, text="exit 0"):
    path = directory / name
    path.write_text("#!/bin/sh\n%s\n" % text, encoding="utf-8")
    path.chmod(0o755)
    return path


def check_what_is_missing(directory):
    """Programs that are not there, one after the other, in a PATH that has nothing else."""
    mpich = make_program(directory, "mpich", "echo HYDRA build details:")
    other = make_program(directory, "other", "echo Open MPI")
    path = directory / "path"
    path.mkdir()
    arguments = ("--mpiexec", mpich, "--", "/bin/true")
    for program, package in (("ip", "iproute2"), ("tc", "iproute2"), ("mount", "mount"), ("unshare", "util-linux")):
        done = run(*arguments, env={"PATH": str(path)})
        check("no %s: a sentence names it and its package, exit 121" % program, done.returncode == 121 and is_one_sentence(done)
              and "'%s'" % program in done.stderr and package in done.stderr, done)
        make_program(path, program)
    for what, mpiexec, word in (("no mpiexec", directory / "absent", "apt-get install mpich"), ("another MPI", other, "MPICH")):
        done = run("--mpiexec", mpiexec, "--", "/bin/true", env={"PATH": str(path)})
        check("%s: one sentence, exit 121" % what, done.returncode == 121 and is_one_sentence(done) and word in done.stderr, done)
    as_user = "import os, runpy, sys; os.geteuid = lambda: 1000; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], None, '__main__')"
    done = subprocess.run([sys.executable, "-B", "-c", as_user, str(TOOL), *map(str, arguments)], env={"PATH": str(path)},
                          capture_output=True, text=True, timeout=SECONDS)
    check("not root: one sentence, exit 121", done.returncode == 121 and is_one_sentence(done) and "root" in done.stderr, done)


# --- Real runs --------------------------------------------------------------------------------------------------------


def why_not():
    """Why this machine cannot do a real run; None where it can. Asks by other means than the tool does."""
    if os.geteuid() != 0:
        return "not root"
    for program in ("ip", "tc", "unshare", "mount"):
        if not shutil.which(program):
            return "no %s" % program
    links = ("mount --make-rslave / && mount -t proc proc /proc && mount -t tmpfs tmpfs /dev/shm && ip link add br0 type bridge && "
             "ip link add port1 type veth peer name eth0 && tc qdisc add dev port1 root tbf rate 1gbit burst 24kb latency 20ms && "
             "unshare --net --ipc --uts true")
    done = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", links], capture_output=True, text=True)
    return None if done.returncode == 0 else "namespaces or links are not to be had: " + done.stderr.strip()


def marked_processes(mark):
    """Those that carry the mark: by pid, the network namespace."""
    found = {}
    for directory in pathlib.Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                if mark.encode() in (directory / "environ").read_bytes():
                    found[int(directory.name)] = os.readlink(directory / "ns" / "net")
            except OSError:
                pass  # ended meanwhile
    return found


def has_name(pid, name):
    try:
        return pathlib.Path("/proc/%d/comm" % pid).read_text(encoding="utf-8").startswith(name)
    except OSError:
        return False


def is_gone(mark):
    deadline = time.monotonic() + 20
    while marked_processes(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def names_in_sight():
    """Of what a run makes, what this process sees: nothing, unless the machine has such names of its own."""
    text = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    text += subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    text += pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    names = [" br0:", " port1@", " port2@", "host1", "host2"]
    return [(name, text.count(name)) for name in names] + [os.readlink("/proc/self/ns/net"), os.uname().nodename]


class Running:
    """A run whose program has begun on both hosts and waits."""

    def __init__(self, program="exec sleep 600"):
        self.sight_before = names_in_sight()
        self.mark = "%s=%s" % (MARK, uuid.uuid4())
        name, value = self.mark.split("=")
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(TOOL), *MPIEXEC, *LINK, "--", "sh", "-c", "echo begun; " + program], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ, **{name: value}),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a shell's background ignores it
        self.begun = [self.process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2

    def namespaces(self):
        """Network namespaces of the run other than ours: the switch's and the hosts'."""
        return set(marked_processes(self.mark).values()) - {os.readlink("/proc/self/ns/net")}

    def pids(self, name):
        return [pid for pid in marked_processes(self.mark) if has_name(pid, name)]

    def first_child(self):
        children = pathlib.Path("/proc/{0}/task/{0}/children".format(self.process.pid)).read_text(encoding="ascii")
        return int(children.split()[0])

    def end(self):
        """The end of the tool, whether all has ended with it, and what it said."""
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pass  # the exit status shows it
        gone = is_gone(self.mark)
        for pid in marked_processes(self.mark):
            with contextlib.suppress(ProcessLookupError):  # the first of the namespace takes the others along
                os.kill(pid, signal.SIGKILL)
        status = self.process.poll()
        out, err = self.process.communicate()
        return gone, subprocess.CompletedProcess([], status if status is not None else "none", out, err)


def check_end(what, running, kill, status):
    """The run ends with this status after kill(), and leaves nothing behind."""
    check("%s: the program runs on two hosts" % what, running.begun and len(running.namespaces()) == 3)
    check("%s: in namespaces that nobody else sees" % what, names_in_sight() == running.sight_before)
    kill()
    gone, done = running.end()
    check("%s: exit status %d" % (what, status), done.returncode == status, done)
    check("%s: nothing is left" % what, gone)


def check_interruptions():
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        running = Running()
        check_end(signum.name, running, lambda: running.process.send_signal(signum), 128 + signum)
    running = Running("trap '' INT TERM HUP; while :; do sleep 1; done")
    check_end("SIGTERM, to a program that ignores it", running, lambda: running.process.terminate(), 128 + signal.SIGTERM)
    running = Running("setsid sleep 600 >/dev/null 2>&1 & exec sleep 600")
    check_end("SIGTERM, with a process in the background", running, lambda: running.process.terminate(), 128 + signal.SIGTERM)
    running = Running()
    check_end("SIGKILL", running, lambda: running.process.kill(), -signal.SIGKILL)
    running = Running()
    check_end("SIGKILL to mpiexec", running, lambda: [os.kill(pid, signal.SIGKILL) for pid in running.pids("mpiexec")],
              128 + signal.SIGKILL)
    running = Running()
    check_end("SIGKILL to the process that holds the hosts", running, lambda: os.kill(running.first_child(), signal.SIGKILL), 123)


def check_program():
    """What the program sees, prints and returns."""
    show = "echo $PMI_RANK $(cat /proc/sys/kernel/hostname) $(ip -o -4 address show dev eth0 | grep -o 'inet [0-9.]*') $POCL_CACHE_DIR"
    done = run(*LINK, "--hosts", 3, "--workers-per-host", 2, "--", "sh", "-c", show)
    expected = ["%d host%d inet 10.99.0.%d /dev/shm/pocl-%d" % (rank, rank // 2 + 1, rank // 2 + 1, rank) for rank in range(6)]
    check("workers have their host's name and address, and a kernel cache of their own",
          done.returncode == 0 and sorted(done.stdout.splitlines()) == expected, done)
    check("it says what is not emulated", "no propagation delay" in done.stderr, done)
    done = run(*LINK, "--", "sh", "-c", "exit $((PMI_RANK * 7))")
    check("the program's exit status is passed on", done.returncode == 7, done)
    check("and nothing of its own is on standard output", done.stdout == "", done)
    done = run(*LINK, "--timeout", 1, "--", "sleep", "600")
    check("--timeout ends a program: exit 124", done.returncode == 124 and "had not ended" in done.stderr, done)


def check_links():
    done = run("--rate", "100mbit", "--burst", "4mb", "--", "echo", "ran")
    check("a link that small messages pass too fast is refused: exit 122", done.returncode == 122 and done.stdout == ""
          and "refused" in done.stderr and "--burst" in done.stderr, done)
    done = run("--rate", "10gbit", "--", "true")
    check("at 10 Gbit/s it says that messages of this size are not checked", done.returncode == 0
          and "not checked" in done.stderr, done)


def check_psgd_bench(directory, bench):
    """A step and plain all-reduces of 1 MB over links of 100 Mbit/s. What travels is on the counters."""
    (directory / "shapes.txt").write_text("weight 512 512\n", encoding="utf-8")
    results, measured = directory / "bench.json", directory / "hosts.json"
    for _ in range(5):
        results.unlink(missing_ok=True)
        # To tc kbps are 1000 bytes a second.
        done = run("--rate", "12500kbps", "--timeout", 40, "--json", measured, "--", bench, "--model", directory / "shapes.txt",
                   "--rank", 4, "--steps", 2, "--engine", "fused", "--json", results)
        # MPICH 4.0 sometimes never returns from MPI_Finalize over TCP, with all results written.
        if done.returncode != 124:
            break
    check("psgd-bench runs on two hosts", done.returncode == 0, done)
    if done.returncode != 0:
        return
    bench_says, hosts_say = json.loads(results.read_text(encoding="utf-8")), json.loads(measured.read_text(encoding="utf-8"))
    check("as two workers", bench_says["workers"] == 2 and bench_says["deviation"] < 2e-5, done)
    # 2 rounds of warm-up and 2 of each loop at least, each an all-reduce of which every worker sends half at least.
    least = 4 * 512 * 512 * 4 // 2
    traffic = hosts_say["traffic"]
    check("the gradients crossed both links", len(traffic) == 2
          and all(host[key] > least for host in traffic for key in ("sent_bytes", "received_bytes")), done)
    # 0.5 MB at 100 Mbit/s: 42 ms. Half of that is far from what memory takes.
    check("at no more than the links' rate", bench_says["plain_allreduce_ms"]["median"] > 21, done)
    check("the rate is in the JSON", hosts_say["rate_bits"] == 1e8 and hosts_say["exit_status"] == 0
          and [message["bytes"] for message in hosts_say["messages"]] == [65536, 307200, 983040], done)


with tempfile.TemporaryDirectory() as name:
    scratch = pathlib.Path(name)
    if sys.argv[2] == "usage":
        check_bad_use()
        check_what_is_missing(scratch)
    else:
        reason = why_not()
        if reason:
            print("skipped: " + reason)
            sys.exit(SKIPPED)
        check_program()
        check_links()
        check_interruptions()
        check_psgd_bench(scratch, pathlib.Path(sys.argv[3]))
sys.exit(1 if failures else 0)

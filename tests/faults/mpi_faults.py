"""What happens to a job when one of its workers' MPI calls goes wrong: see test_faults_mpi.c.

mpi_faults.py PATH/test_faults_mpi [--sample] [--only WORD] [--workers N] [--victim N] [--stride N] [--jobs N]

PSGD_TEST_MPIEXEC in the environment says by which mpiexec.

Errors, delays, wrong bits and short messages happen in one job after the other call; a worker that is killed, stopped or ends takes its
job with it, so there each call has a job of its own, and a new one goes on from the checkpoints of several. Where MPI splits a
communicator it waits without a deadline: what would end there is left out (mpi_shim.h). --sample is what `ctest` runs; all of it takes
hours on two cores. Jobs wait most of the time, so --jobs of them may run side by side. Exits with 1 where something was
not as it must be.
"""

import argparse
import concurrent.futures
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

MPIEXEC = os.environ.get("PSGD_TEST_MPIEXEC", "mpiexec")
IN_ONE_JOB = ("error", "delay", "late", "flip", "short")
ENDS_A_JOB = ("kill", "stop", "exit")
SETUPS = ("each", "owners", "lazy", "bf16", "buckets", "nodes")
JOB_SECONDS = 180  # of a job with one fault, on a busy machine
CALLS_AT_ONCE = {**dict.fromkeys(IN_ONE_JOB, 20), **dict.fromkeys(ENDS_A_JOB, 10)}  # that one of --jobs does before the next has its turn

LEFT_OUT = re.compile("^left out$", re.MULTILINE)

# Hydra kills a job when one of its processes dies, sometimes even with -disable-auto-cleanup: it must not see that.
KEEPS_QUIET = ("sh", "-c", '"$@"; [ $? -eq 0 ] || sleep 30', "sh")


class Tally:
    """Of the calls of one kind of fault in one kind of job."""

    def __init__(self):
        self.calls, self.faults, self.left_out, self.wrong, self.jobs, self.seconds = 0, 0, 0, 0, 0, 0.0

    def complain(self, sentence):
        self.wrong += 1
        print("WRONG:", sentence, flush=True)

    def add(self, other):
        self.calls += other.calls
        self.faults += other.faults
        self.left_out += other.left_out
        self.wrong += other.wrong
        self.jobs += other.jobs
        self.seconds += other.seconds


class Job:
    """How a program is started on a number of workers; worker 0 or 1 is the one that goes wrong."""

    def __init__(self, wrapper, program, workers, setup, victim):
        self.wrapper, self.program, self.workers, self.setup, self.victim = wrapper, program, workers, setup, victim

    def __str__(self):
        return "%s, %d workers, worker %d" % (self.setup, self.workers, self.victim)

    def start(self, place, kind, first, last, resume=()):
        last = -last if self.victim == 0 else last
        command = [MPIEXEC, "-n", str(self.workers), *(KEEPS_QUIET if kind in ENDS_A_JOB else ()), *self.wrapper, self.program, kind,
                   self.setup, str(first), str(last), place.path(first), *resume]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                                env=place.environment)

    def run(self, place, kind, first, last, seconds, resume=()):
        """Whether all workers ended well, and what they have said."""
        process = self.start(place, kind, first, last, resume)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return False, output + "\nthe job did not end within %d s\n" % seconds
        ends = re.findall(r"^worker \d+ ends with (\d+)$", output, re.MULTILINE)
        return ends == ["0"] * self.workers, output + "mpiexec ended with %d\n" % process.returncode


class Place:
    """Where one of the jobs that run side by side has its files: checkpoints, what workers say, and compiled kernels."""

    def __init__(self, directory):
        self.directory = directory
        self.environment = dict(os.environ)
        if "PSGD_TEST_CACHE_COPIES" in os.environ:
            self.environment["PSGD_TEST_CACHE_COPIES"] = os.path.join(directory, "kernels")
            os.mkdir(self.environment["PSGD_TEST_CACHE_COPIES"])

    def path(self, call):
        return os.path.join(self.directory, "run-%d" % call)

    def clear(self, call=""):
        for entry in os.listdir(self.directory):
            if re.match(r"run-%s(\.|$)" % (call or r"\d+"), entry):
                os.unlink(os.path.join(self.directory, entry))


def updates_of(output):
    return [line.split()[1:] for line in re.findall(r"^updates .*$", output, re.MULTILINE)]


def ranges_of(calls):
    """First and last of each row of numbers without a gap."""
    ranges = []
    for call in calls:
        if ranges and ranges[-1][1] == call - 1:
            ranges[-1] = (ranges[-1][0], call)
        else:
            ranges.append((call, call))
    return ranges


def go_wrong_in_one_job(job, place, kind, calls, tally):
    ranges = ranges_of(calls)
    vain = 0  # jobs in a row that failed before they came to their first call, as they may where the machine is busy
    while ranges:
        first, last = ranges.pop(0)
        is_well, output = job.run(place, kind, first, last, JOB_SECONDS + 30 * (last - first))
        tally.jobs += 1
        counted = re.search(r"(\d+) runs, a fault in (\d+), (\d+) wrong", output)
        again = re.search(r"^goes on with (\d+)$", output, re.MULTILINE)
        if counted is None or not is_well:
            tally.complain("%s: %s, calls %d to %d:\n%s" % (job, kind, first, last, output))
        tally.calls += int(counted.group(1)) if counted else 0
        tally.faults += int(counted.group(2)) if counted else 0
        tally.left_out += len(LEFT_OUT.findall(output))
        vain = vain + 1 if again and int(again.group(1)) == first else 0
        if vain == 3:
            tally.complain("%s: %s: call %d is not reached:\n%s" % (job, kind, first, output))
            return
        if again and int(again.group(1)) <= last:
            ranges.insert(0, (int(again.group(1)), last))
        place.clear()


def told(job, path):
    """What the workers have said so far."""
    text = ""
    for worker in range(job.workers):
        name = "%s.told.%d" % (path, worker)
        if os.path.exists(name):
            with open(name) as file:
                text += file.read()
    return text


def watch(job, path, process):
    """What the workers say until all have been told but the one that has gone, and how mpiexec ended."""
    end, output = time.monotonic() + JOB_SECONDS, ""
    while time.monotonic() < end:
        text = told(job, path)
        if "no such call" in text or LEFT_OUT.search(text) or text.count("\ntold") >= job.workers - 1:
            break
        time.sleep(0.02)
    else:
        output = "the job did not end\n"
    victim = re.search(r"^victim (\d+)$", text, re.MULTILINE)
    if victim and "no such call" not in text:
        try:
            os.kill(int(victim.group(1)), signal.SIGKILL)  # it may have been stopped
        except ProcessLookupError:
            pass
    process.terminate()
    rest, _ = process.communicate()
    return text + output + rest


def go_on(job, place, kind, calls, expected, tally):
    """A new job loads the checkpoint that each of the calls has left, and takes the steps after it."""
    first, *others = calls
    is_well, output = job.run(place, "none", first, 1, JOB_SECONDS + 10 * len(others),
                              ("resume", *(place.path(call) for call in others)))
    updates = updates_of(output)
    tally.jobs += 1
    if not is_well or [found[2:] for found in updates] != [expected[2:]] * len(calls):
        tally.complain("%s: %s at calls %s: what a new job made of the checkpoints:\n%s" % (job, kind, calls, output))


def lose(job, place, kind, call, tally):
    """What the workers of a job have said that loses one at this call; again where the job failed before it came to it, as it may
    where the machine is busy."""
    for _ in range(3):
        place.clear(call)
        process = job.start(place, kind, call, call)
        output = watch(job, place.path(call), process)
        tally.jobs += 1
        if "no such call" not in output:
            break
    return output


def go_wrong_for_good(job, place, kind, calls, expected, tally):
    saved = []
    for call in calls:
        output = lose(job, place, kind, call, tally)
        tally.calls += 1
        if LEFT_OUT.search(output):
            tally.left_out += 1
            continue
        tally.faults += 1
        if ("WRONG" in output or "the job did not end" in output or "no such call" in output or
                output.count("\ntold") < job.workers - 1):
            tally.complain("%s: %s at call %d:\n%s" % (job, kind, call, output))
        if os.path.exists(place.path(call)):
            saved.append(call)
    if saved:
        go_on(job, place, kind, saved, expected, tally)
    place.clear()


class Series:
    """All calls of one worker, with one kind of fault."""

    def __init__(self, job, kind, calls, expected):
        self.job, self.kind, self.expected, self.tally = job, kind, expected, Tally()
        at_once = CALLS_AT_ONCE[kind]
        self.parts = [calls[begin:begin + at_once] for begin in range(0, len(calls), at_once)]
        self.left = len(self.parts)

    def go(self, place, calls):
        begin, tally = time.monotonic(), Tally()
        if self.kind in IN_ONE_JOB:
            go_wrong_in_one_job(self.job, place, self.kind, calls, tally)
        else:
            go_wrong_for_good(self.job, place, self.kind, calls, self.expected, tally)
        tally.seconds = time.monotonic() - begin
        return tally

    def end_part(self, tally):
        self.tally.add(tally)
        self.left -= 1
        if self.left == 0:
            print("%s: %s: %d calls, %d faults, %d left out, %d wrong, %.0f s" %
                  (self.job, self.kind, self.tally.calls, self.tally.faults, self.tally.left_out, self.tally.wrong, self.tally.seconds),
                  flush=True)


class Pool:
    """So many jobs at a time, each with a place of its own."""

    def __init__(self, directory, count):
        self.executor = concurrent.futures.ThreadPoolExecutor(count)
        self.places, self.lock = queue.SimpleQueue(), threading.Lock()
        for number in range(count):
            os.mkdir(os.path.join(directory, str(number)))
            self.places.put(Place(os.path.join(directory, str(number))))

    def submit(self, function, *arguments):
        def call():
            place = self.places.get()
            try:
                return function(place, *arguments)
            finally:
                self.places.put(place)

        return self.executor.submit(call)

    def run(self, series):
        def go(place, which, calls):
            tally = which.go(place, calls)
            if tally.calls != len(calls) and tally.wrong == 0:
                tally.complain("%s: %s: only %d of %d calls from %d on were reached" %
                               (which.job, which.kind, tally.calls, len(calls), calls[0]))
            with self.lock:
                which.end_part(tally)

        for future in [self.submit(go, which, calls) for which in series for calls in which.parts]:
            future.result()


def run_without_fault(place, job):
    """How many calls there are, and the updates; None where it fails."""
    is_well, output = job.run(place, "none", 0, 1, JOB_SECONDS)
    place.clear()
    counted = re.search(r"^calls (\d+)$", output, re.MULTILINE)
    if not is_well or counted is None:
        print("WRONG: %s: without a fault:\n%s" % (job, output), flush=True)
        return None
    return int(counted.group(1)), updates_of(output)[0]


def go(pool, plan, calls_of):
    """The plan: jobs, each with kinds of faults."""
    found = [pool.submit(run_without_fault, job) for job, _ in plan]
    series, total = [], Tally()
    for (job, kinds), future in zip(plan, found):
        if future.result() is None:
            total.wrong += 1
            continue
        count, updates = future.result()
        series += [Series(job, kind, list(calls_of(kind, count)), updates) for kind in kinds]
    pool.run(series)
    for which in series:
        total.add(which.tally)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--only", default="", metavar="WORD,...",
                        help="setups and kinds: each, owners, lazy, bf16, buckets, nodes, error, kill, ...")
    parser.add_argument("--workers", type=int, choices=(2, 3), help="only jobs of so many")
    parser.add_argument("--victim", type=int, choices=(0, 1), help="only jobs in which this worker goes wrong")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="that run side by side")
    parser.add_argument("--wrapper", default="", help="a script that each worker is started through")
    options = parser.parse_args()
    wrapper = ["sh", options.wrapper] if options.wrapper else []
    words = set(options.only.split(",")) if options.only else set()
    unknown = words - set(SETUPS + IN_ONE_JOB + ENDS_A_JOB)
    if unknown or options.stride < 1 or options.jobs < 1:
        parser.error("--only does not know %s" % ", ".join(unknown) if unknown else "--stride and --jobs are 1 or more")

    def sampled(kind, count):
        if kind == "late":
            return range(13, 15)  # when it has told its node, and others may be in a split
        first = {"flip": 18, "short": 21, "kill": 30, "stop": 27}.get(kind, 12)
        return range(7, 16, 8) if kind == "error" else range(first, count + 1, count)

    def all_calls(kind, count):
        return range(1, count + 1, options.stride)

    def chosen(names):
        return [name for name in names if name in words] or list(names)

    def plan():
        for workers in (options.workers,) if options.workers else (2, 3):
            for kinds in (IN_ONE_JOB, ENDS_A_JOB):
                for setup in chosen(SETUPS):
                    for victim in (0, 1) if options.victim is None else (options.victim,):
                        yield (Job(wrapper, options.program, workers, setup, victim),
                               [kind for kind in kinds if kind in chosen(IN_ONE_JOB + ENDS_A_JOB)])

    with tempfile.TemporaryDirectory() as directory:
        pool = Pool(directory, options.jobs)
        if options.sample:
            total = go(pool, [(Job(wrapper, options.program, 2, "each", 1), ("error", "flip", "short", "stop", "kill")),
                              (Job(wrapper, options.program, 2, "nodes", 0), ("late",)),
                              (Job(wrapper, options.program, 3, "owners", 1), ("kill",))], sampled)
        else:
            total = go(pool, [(job, kinds) for job, kinds in plan() if kinds], all_calls)
    print("%d calls, %d faults in %d jobs, %d wrong" % (total.calls, total.faults, total.jobs, total.wrong))
    sys.exit(1 if total.wrong or not total.faults else 0)


main()

"""What happens to a job when one of its workers' MPI calls goes wrong: see test_faults_mpi.c.

mpi_faults.py PATH/test_faults_mpi [--sample] [--only WORD] [--stride N]            (environment: PSGD_TEST_MPIEXEC)

Errors, delays, wrong bits and short messages happen in one job after the other call; a worker that is killed, stopped or ends takes its
job with it, so there each call has a job of its own, and a new one goes on from the checkpoint. --sample is what `ctest` runs; all of it
takes hours on two cores. Exits with 1 where something was not as it must be.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

MPIEXEC = os.environ.get("PSGD_TEST_MPIEXEC", "mpiexec")
IN_ONE_JOB = ("error", "delay", "late", "flip", "short")
ENDS_A_JOB = ("kill", "stop", "exit")
SETUPS = ("each", "owners", "lazy", "bf16")
JOB_SECONDS = 60  # of a job with one fault

# Hydra kills a job when one of its processes dies, sometimes even with -disable-auto-cleanup: it must not see that.
KEEPS_QUIET = ("sh", "-c", '"$@"; [ $? -eq 0 ] || sleep 30', "sh")


class Tally:
    def __init__(self):
        self.faults, self.wrong, self.jobs = 0, 0, 0

    def complain(self, sentence):
        self.wrong += 1
        print("WRONG:", sentence, flush=True)


class Job:
    """How a program is started on a number of workers; worker 0 or 1 is the one that goes wrong."""

    def __init__(self, wrapper, program, workers, setup, victim, path):
        self.wrapper, self.program, self.workers, self.setup, self.victim, self.path = wrapper, program, workers, setup, victim, path

    def __str__(self):
        return "%s, %d workers, worker %d" % (self.setup, self.workers, self.victim)

    def start(self, kind, first, last, resume=False):
        last = -last if self.victim == 0 else last
        command = [MPIEXEC, "-n", str(self.workers), *(KEEPS_QUIET if kind in ENDS_A_JOB else ()), *self.wrapper, self.program, kind,
                   self.setup, str(first), str(last), self.path]
        return subprocess.Popen(command + (["resume"] if resume else []), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                start_new_session=True)

    def run(self, kind, first, last, seconds, resume=False):
        process = self.start(kind, first, last, resume)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return 1, output + "\nthe job did not end within %d s\n" % seconds
        return process.returncode, output

    def remove_checkpoint(self):
        directory, name = os.path.split(self.path)
        for entry in os.listdir(directory):
            if entry.startswith(name):
                os.unlink(os.path.join(directory, entry))


def updates_of(output):
    found = re.search(r"^updates (.*)$", output, re.MULTILINE)
    return found.group(1).split() if found else []


def go_wrong_in_one_job(job, kind, calls, tally):
    """The calls from calls[0] to calls[-1], or only these where they are not all of them."""
    ranges = [(calls.start, calls[-1])] if calls.step == 1 else [(k, k) for k in calls]
    while ranges:
        first, last = ranges.pop(0)
        code, output = job.run(kind, first, last, JOB_SECONDS + 30 * (last - first))
        tally.jobs += 1
        counted = re.search(r"a fault in (\d+) runs, (\d+) wrong", output)
        again = re.search(r"^goes on with (\d+)$", output, re.MULTILINE)
        if counted is None or code != 0:
            tally.complain("%s: %s, calls %d to %d:\n%s" % (job, kind, first, last, output))
        tally.faults += int(counted.group(1)) if counted else 0
        if again and int(again.group(1)) <= last:
            ranges.insert(0, (int(again.group(1)), last))
        job.remove_checkpoint()


def told(job):
    """What the workers have said so far."""
    text = ""
    for worker in range(job.workers):
        name = "%s.told.%d" % (job.path, worker)
        if os.path.exists(name):
            with open(name) as file:
                text += file.read()
    return text


def watch(job, process):
    """What the workers say until all have been told but the one that has gone, and how mpiexec ended."""
    end, output = time.monotonic() + JOB_SECONDS, ""
    while time.monotonic() < end:
        text = told(job)
        if "no such call" in text or text.count("\ntold") >= job.workers - 1:
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


def go_wrong_for_good(job, kind, calls, expected, tally):
    for call in calls:
        process = job.start(kind, call, call)
        output = watch(job, process)
        tally.jobs += 1
        if "no such call" in output:
            break
        tally.faults += 1
        if "WRONG" in output or "the job did not end" in output or output.count("\ntold") < job.workers - 1:
            tally.complain("%s: %s at call %d:\n%s" % (job, kind, call, output))
        if os.path.exists(job.path):
            code, again = job.run("none", 0, 1, JOB_SECONDS, resume=True)
            tally.jobs += 1
            if code != 0 or updates_of(again)[2:] != expected[2:]:
                tally.complain("%s: %s at call %d: what a new job made of the checkpoint:\n%s" % (job, kind, call, again))
        job.remove_checkpoint()


def go(job, kinds, calls_of, tally):
    code, output = job.run("none", 0, 1, JOB_SECONDS)
    job.remove_checkpoint()
    counted = re.search(r"^calls (\d+)$", output, re.MULTILINE)
    if code != 0 or counted is None:
        tally.complain("%s: without a fault:\n%s" % (job, output))
        return
    for kind in kinds:
        start, before, faults = time.monotonic(), tally.wrong, tally.faults
        calls = calls_of(kind, int(counted.group(1)))
        if kind in IN_ONE_JOB:
            go_wrong_in_one_job(job, kind, calls, tally)
        else:
            go_wrong_for_good(job, kind, calls, updates_of(output), tally)
        print("%s: %s: %d faults, %d wrong, %.0f s" % (job, kind, tally.faults - faults, tally.wrong - before, time.monotonic() - start),
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--only", default="", metavar="WORD", help="those whose title has it: each, owners, lazy, bf16, kill, ...")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--wrapper", default="", help="a script that each worker is started through")
    options = parser.parse_args()
    wrapper = ["sh", options.wrapper] if options.wrapper else []
    tally = Tally()

    def sampled(kind, count):
        first = {"error": 15, "late": 25, "flip": 18, "short": 21, "kill": 30, "stop": 27}.get(kind, 12)
        return range(first, count + 1, count)

    def all_calls(kind, count):
        return range(1, count + 1, options.stride)

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "run")
        if options.sample:
            go(Job(wrapper, options.program, 2, "each", 1, path), ("error", "flip", "short", "stop", "kill"), sampled, tally)
            go(Job(wrapper, options.program, 3, "owners", 1, path), ("kill",), sampled, tally)
        else:
            for setup in SETUPS:
                for workers in (2, 3):
                    for victim in (0, 1):
                        kinds = [k for k in IN_ONE_JOB + ENDS_A_JOB if options.only in ("", k, setup)]
                        go(Job(wrapper, options.program, workers, setup, victim, path), kinds, all_calls, tally)
    print("%d faults in %d jobs, %d wrong" % (tally.faults, tally.jobs, tally.wrong))
    sys.exit(1 if tally.wrong or not tally.faults else 0)


main()

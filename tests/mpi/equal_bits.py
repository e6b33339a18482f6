"""Equal bits on all workers: numbers of workers, unlike devices, all algorithms of MPICH's collectives.

equal_bits.py PATH/equal_bits [--sample] [--steps N] [--only WORD] [--workers N,...]        (environment: PSGD_TEST_MPIEXEC)

Each run reads every update of every worker back from its device and counts the bits that differ. With owners that must be none; with
all-reduces alone (sharing "none"), none, or an error on all workers that says so. --sample is what `ctest` runs; all of it takes about half
an hour on two cores. Exits with 77 where nothing could be run, with 1 where a run was not as it must be.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time

MPIEXEC = os.environ.get("PSGD_TEST_MPIEXEC", "mpiexec")
WORKERS = (1, 2, 3, 4, 5, 7, 8)
DEVICES = {
    "pocl": ["-env", "OCL_ICD_VENDORS", "pocl.icd"],
    "rusticl": ["-env", "OCL_ICD_VENDORS", "rusticl.icd", "-env", "RUSTICL_ENABLE", "llvmpipe"],
    "oclgrind": [],
}
# Recursive exchange among 3 or 4 at a time adds in another order on each worker, and gives them different bits.
ALL_REDUCES = ("sched_naive", "sched_smp", "sched_recursive_doubling", "sched_reduce_scatter_allgather", "tsp_recexch_single_buffer",
               "tsp_recexch_multiple_buffer", "tsp_recexch_single_buffer/3", "tsp_recexch_multiple_buffer/3",
               "tsp_recexch_single_buffer/4", "tsp_recexch_multiple_buffer/4", "tsp_tree", "tsp_ring",
               "tsp_recexch_reduce_scatter_recexch_allgatherv")
# Not sched_noncommutative: MPICH stops a program that forces it on segments of unlike sizes.
REDUCE_SCATTERS = ("sched_recursive_doubling", "sched_pairwise", "sched_recursive_halving", "tsp_recexch")
ALL_GATHERS = ("sched_brucks", "sched_recursive_doubling", "sched_ring", "tsp_recexch_doubling", "tsp_recexch_halving", "tsp_ring",
               "tsp_brucks")


def cvar(collective, algorithm):
    name, _, at_a_time = algorithm.partition("/")
    variables = {"MPIR_CVAR_%s_INTRA_ALGORITHM" % collective: name}
    return {**variables, "MPIR_CVAR_%s_RECEXCH_KVAL" % collective: at_a_time} if at_a_time else variables


class Run:
    def __init__(self, title, first, others, workers, sharing, steps, cases=(), environment=None):
        self.title, self.first, self.others, self.workers = title, first, others, workers
        self.sharing, self.steps, self.cases, self.environment = sharing, steps, cases, environment or {}

    def is_possible(self):
        if "oclgrind" in (self.first, self.others) and shutil.which("oclgrind") is None:
            return False
        return True

    def command(self, program, wrapper):
        def part(device, count):
            wrapped = ["oclgrind"] if device == "oclgrind" else []
            return ["-n", str(count), *DEVICES[device], *wrapper, *wrapped, program, self.sharing, str(self.steps), *self.cases]

        if self.workers == 1 or self.first == self.others:
            return [MPIEXEC, *part(self.first, self.workers)]
        return [MPIEXEC, *part(self.first, 1), ":", *part(self.others, self.workers - 1)]

    def go(self, program, wrapper):
        """Whether it was as it must be; its lines, each with the values compared, or that a difference was told."""
        begin = time.monotonic()
        done = subprocess.run(self.command(program, wrapper), capture_output=True, text=True, timeout=1500, stdin=subprocess.DEVNULL,
                              env={**os.environ, "POCL_MAX_PTHREAD_COUNT": "1", **self.environment})
        lines = [line for line in done.stdout.splitlines() if "differing bits" in line or "told:" in line]
        told = sum("told:" in line for line in lines)
        values = sum(int(line.split(" values")[0].split()[-1]) for line in lines if "values" in line)
        print("%-58s %-8s %d workers: %2d cases, %9d values equal, %d told; %.0f s%s" %
              (self.title, self.sharing, self.workers, len(lines), values, told, time.monotonic() - begin,
               "" if done.returncode == 0 else "  FAILED"), flush=True)
        if done.returncode != 0:
            print(done.stdout + done.stderr, flush=True)
        return done.returncode == 0 and len(lines) > 0, values, told


def sample():
    yield Run("rusticl and PoCL", "rusticl", "pocl", 3, "auto", 12, ("fused", "clblast", "half"))
    yield Run("Oclgrind and PoCL", "oclgrind", "pocl", 2, "auto", 1, ("fused",))
    for algorithm in ("tsp_recexch_multiple_buffer/3", "tsp_recexch_reduce_scatter_recexch_allgatherv"):
        for sharing in ("none", "owners"):
            yield Run(algorithm, "pocl", "pocl", 5, sharing, 6, ("fused", "half", "plain"), cvar("IALLREDUCE", algorithm))


def everything(steps):
    for workers in WORKERS:
        yield Run("PoCL", "pocl", "pocl", workers, "owners", steps)
        if workers > 1:
            yield Run("rusticl and PoCL", "rusticl", "pocl", workers, "auto", steps)
    yield Run("rusticl and PoCL, a long run", "rusticl", "pocl", 2, "auto", 300, ("fused", "clblast", "half"))
    for case in ("fused", "half", "bf16"):
        yield Run("Oclgrind and PoCL, " + case, "oclgrind", "pocl", 2, "auto", 4, (case,))
    for workers in WORKERS[1:]:
        for algorithm in ALL_REDUCES:
            for sharing in ("none", "owners"):
                yield Run(algorithm, "pocl", "pocl", workers, sharing, 10, environment=cvar("IALLREDUCE", algorithm))
    for workers in (3, 4, 5, 8):
        for scatter in REDUCE_SCATTERS:
            yield Run("reduce-scatter " + scatter, "pocl", "pocl", workers, "owners", 10, environment=cvar("IREDUCE_SCATTER", scatter))
        for gather in ALL_GATHERS:
            yield Run("all-gather " + gather, "pocl", "pocl", workers, "owners", 10, environment=cvar("IALLGATHERV", gather))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--wrapper", nargs="*", default=[], help="what runs each process")
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--only", default="", metavar="WORD", help="runs whose title has it")
    parser.add_argument("--workers", default="", metavar="N,...", help="runs of so many workers")
    options = parser.parse_args()
    runs = [run for run in (sample() if options.sample else everything(options.steps))
            if options.only in run.title and (not options.workers or str(run.workers) in options.workers.split(","))]
    possible = [run for run in runs if run.is_possible()]
    results = [run.go(options.program, options.wrapper) for run in possible]
    failed = sum(not good for good, _, _ in results)
    print("%d runs, %d not possible here: %d values equal, %d cases told, %d runs failed" %
          (len(results), len(runs) - len(possible), sum(values for _, values, _ in results), sum(told for _, _, told in results), failed))
    return 77 if not results else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

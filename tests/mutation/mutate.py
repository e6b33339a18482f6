#!/usr/bin/env python3
"""Mutation testing: small changes to the source, one at a time, that the tests should notice.

    tests/mutation/mutate.py --sample 60            60 mutants, as many of each group as of any other
    tests/mutation/mutate.py --group vote           all mutants of one group; --list: names them, and runs nothing
    tests/mutation/mutate.py --only src/core/vote.c:41

A mutant is killed when a test of its group fails or takes far longer than without it; one that does not compile does not count.
Those that survive are listed. Each is a test that is missing, or a change that makes no difference: that is for a reader to tell.
What a reader has told is in equivalent.py, with the reason, and not run again. The same seed takes the same sample of the same
source.

Works in build-mutation/ (or MUTATION_DIR, so that two can run at once), on a copy of the tree with a build of its own. Kernels are
read from that copy (PSGD_KERNEL_DIR), so that a mutant of one needs no build, and compiled without optimization, which takes a third
of the time. Exits with 1 where fewer than --aim percent of the mutants are killed.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import equivalent
import mutants

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / pathlib.Path(os.environ.get("MUTATION_DIR", "build-mutation"))
TREE, BUILD = WORK / "tree", WORK / "build"
CACHE = WORK / "test-kernel-cache"

EXIT_FAILED, EXIT_USAGE = 1, 2
SLOWER, GRACE_SECONDS = 3, 60  # what is slower by so much is killed; the seconds are for compiling kernels
NOT_COMPILED = re.compile(r"cannot compile \S+\.cl with|PSGD_ERR_BUILD")

# Tests in the order in which they run: those that notice most in the least time first. TEST:CASE is one case of a test alone.
GROUPS = {
    "orthogonalize": (["cl/orthogonalize.cl", "cl/orthogonalize_panel.clh", "cl/orthogonalize_scale.clh", "cl/orthogonalize_stages.clh",
                       "cl/orthogonalize_tile.clh", "src/ops/orthogonalize.c"],
                      ["test_orthogonalize:columns", "test_orthogonalize:ways", "test_orthogonalize:bounds", "test_orthogonalize_32"]),
    "feedback": (["src/ops/residual.c", "src/ops/compute_p.c", "src/ops/decompress.c", "cl/residual.cl", "cl/compute_p.cl",
                  "cl/decompress.cl"],
                 ["test_residual", "test_engine_fused:items", "test_engine_fused:vectors", "test_engine_fused:parts", "test_decompress",
                  "test_compute_p", "test_copies"]),
    "plan": (["src/plan/budget.c", "src/plan/matrix_view.c", "src/plan/plan.c"], ["test_plan"]),
    "vote": (["src/core/vote.c"], ["test_vote"]),
    "checkpoint": (["src/core/checkpoint.c", "src/core/checkpoint_format.c"],
                   ["test_checkpoint_format", "test_checkpoint", "test_bad_input_workers", "test_faults_file"]),
}

KILLED, SURVIVED, NOT_COUNTED = "killed", "survived", "does not compile"


def parse_arguments():
    parser = argparse.ArgumentParser(prog="mutate.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, metavar="N", help="mutants to run (default: all, which takes a day)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--group", choices=GROUPS, action="append", help="may be given several times (default: all)")
    parser.add_argument("--only", metavar="FILE[:LINE]", help="mutants of this file or line alone")
    parser.add_argument("--list", action="store_true", help="prints the mutants and runs nothing")
    parser.add_argument("--minutes", type=float, help="begins no mutant after so long")
    parser.add_argument("--aim", type=float, default=80, metavar="PERCENT", help="default: 80")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="of a build (default: %(default)s)")
    return parser.parse_args()


# ---- which mutants ----

def choose_mutants(args):
    """By group, in the order in which they run."""
    chosen = {}
    for name in args.group or GROUPS:
        found = [mutant for path in GROUPS[name][0] for mutant in mutants_that_matter(path)]
        if args.only:
            path, _, line = args.only.partition(":")
            found = [mutant for mutant in found if mutant.path == path and line in ("", str(mutant.line))]
        random.Random("%d %s" % (args.seed, name)).shuffle(found)
        chosen[name] = spread(found)
    return in_turns(chosen, args.sample)


def mutants_that_matter(path):
    """All of a file but those that are known to make no difference; what is said of lines that are not there any more ends the run."""
    left = []
    reasons = [entry for entry in equivalent.EQUIVALENT if entry.path == path]
    unused = set(reasons)
    for mutant in mutants.mutants_of(path, (ROOT / path).read_text(encoding="utf-8")):
        matching = [entry for entry in reasons if equivalent.holds_for(entry, mutant)]
        unused -= set(matching)
        left += [] if matching else [mutant]
    for entry in sorted(unused):
        print("mutate.py: equivalent.py speaks of a mutant that %s has not: %s" % (path, entry.line), file=sys.stderr)
    if unused:
        sys.exit(EXIT_USAGE)
    return left


def spread(found):
    """Takes of each file in turn, so that a sample has some of all."""
    by_file = collections.defaultdict(list)
    for mutant in found:
        by_file[mutant.path].append(mutant)
    queues, order = list(by_file.values()), []
    while queues:
        order += [queue.pop() for queue in queues]
        queues = [queue for queue in queues if queue]
    return order


def in_turns(by_group, count):
    """(group, mutant), a group after the other, until there are `count`."""
    queues = {name: list(reversed(found)) for name, found in by_group.items()}
    order = []
    while any(queues.values()) and (count is None or len(order) < count):
        for name, queue in queues.items():
            if queue and (count is None or len(order) < count):
                order.append((name, queue.pop()))
    return order


# ---- the copy, its build and its tests ----

def copy_tree():
    """The project's files as they are now; those that did not change keep their time, so that little is built again."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True,
                            capture_output=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        source, copy = ROOT / name, TREE / name
        if source.is_file() and not (copy.is_file() and copy.read_bytes() == source.read_bytes()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)


def configure():
    subprocess.run(["cmake", "-S", str(TREE), "-B", str(BUILD), "--log-level=WARNING", "-DCMAKE_BUILD_TYPE=Debug",
                    "-DCMAKE_C_FLAGS_DEBUG=-O1", "-DPSGD_BUILD_TESTS=ON", "-DPSGD_BUILD_TOOLS=OFF", "-DPSGD_INSTALL=OFF",
                    "-DPSGD_FUZZ_SECONDS=0", "-DPSGD_TEST_KERNEL_CACHE=%s" % CACHE], check=True, stdout=subprocess.DEVNULL)


def build(target, jobs):
    return subprocess.run(["cmake", "--build", str(BUILD), "--target", target, "-j", str(jobs)], capture_output=True, text=True)


class Test:
    """A test as ctest knows it, or one case of it, run with a limit of its own."""

    def __init__(self, name, described):
        self.name, self.command = name, described["command"]
        self.environment = dict(os.environ, PSGD_TEST_SHAPES="reduced")
        for setting in next((one["value"] for one in described["properties"] if one["name"] == "ENVIRONMENT"), []):
            key, _, value = setting.partition("=")
            self.environment[key] = value
        self.environment["PSGD_KERNEL_DIR"] = str(TREE / "cl")
        self.environment["PSGD_TEST_BUILD_OPTIONS"] = "-cl-opt-disable"  # program_layer.c
        if ":" in name:
            self.environment["CK_RUN_CASE"] = name.split(":")[1]
        self.target = target_of(name)
        self.seconds = None  # that it takes without a mutant

    def run(self):
        """Whether it passes, and what it prints."""
        limit = None if self.seconds is None else SLOWER * self.seconds + GRACE_SECONDS
        process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True, cwd=WORK)
        try:
            output, _ = process.communicate(timeout=limit)
            return process.returncode == 0, output.decode(errors="replace")
        except subprocess.TimeoutExpired:
            return False, "takes longer than %d seconds" % limit
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def target_of(name):
    return re.sub(r"_(allocation|file|opencl|\d+)$", "", name.split(":")[0])


def read_tests(names):
    shown = subprocess.run(["ctest", "--test-dir", str(BUILD), "--show-only=json-v1"], check=True, capture_output=True, text=True).stdout
    described = {one["name"]: one for one in json.loads(shown)["tests"]}
    return {name: Test(name, described[name.split(":")[0]]) for name in names}


def prepare(groups, jobs):
    """Builds the tests of these groups and runs each once; they must pass. Returns them by name."""
    names = list(dict.fromkeys(name for group in groups for name in GROUPS[group][1]))
    copy_tree()
    configure()
    for layer in ("psgd_program_layer", "psgd_binary_layer"):
        build(layer, jobs)  # without which tests compile kernels again and again; it may not be there
    for target in dict.fromkeys(target_of(name) for name in names):
        done = build(target, jobs)
        if done.returncode != 0:
            sys.exit("%s cannot be built:\n%s" % (target, done.stderr))
    tests = read_tests(names)
    for test in tests.values():
        begin = time.monotonic()
        passes, output = test.run()
        test.seconds = time.monotonic() - begin
        if not passes:
            sys.exit("%s fails without a mutant:\n%s" % (test.name, output[-4000:]))
        print("%-32s passes in %.1f s" % (test.name, test.seconds), flush=True)
    return tests


# ---- one mutant ----

def in_order(mutant, tests):
    """Those named like the file first."""
    name = "test_" + pathlib.Path(mutant.path).stem
    return sorted(tests, key=lambda test: not test.name.startswith(name))


def judge(mutant, tests, jobs):
    """(what became of it, by which test)."""
    for test in in_order(mutant, tests):
        if mutant.path.startswith("src/") and build(test.target, jobs).returncode != 0:
            return NOT_COUNTED, ""
        passes, output = test.run()
        if not passes:
            return (NOT_COUNTED, "") if NOT_COMPILED.search(output) else (KILLED, test.name)
    return SURVIVED, ""


def run_mutant(mutant, tests, jobs):
    if not mutant.path.startswith("src/"):  # what runs then must not have the mutant before in it
        for target in dict.fromkeys(test.target for test in tests):
            build(target, jobs)
    path = TREE / mutant.path
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutants.apply(mutant, text), encoding="utf-8")
        return judge(mutant, tests, jobs)
    finally:
        path.write_text(text, encoding="utf-8")


def describe(mutant):
    return "%s:%d: %s\n    - %s\n    + %s" % (mutant.path, mutant.line, mutant.kind, mutant.before.strip(), mutant.after.strip())


def print_report(results, aim):
    print("\n%-32s %8s %9s %8s" % ("", KILLED, SURVIVED, "of both"))
    total = collections.Counter()
    for path in dict.fromkeys(mutant.path for mutant, _ in results):
        counts = collections.Counter(verdict for mutant, verdict in results if mutant.path == path)
        total += counts
        print_row(path, counts)
    print_row("total", total)
    print("%d did not compile" % total[NOT_COUNTED])
    survivors = [mutant for mutant, verdict in results if verdict == SURVIVED]
    if survivors:
        print("\nSurvived:")
    for mutant in sorted(survivors):
        print(describe(mutant))
    return percent_killed(total) >= aim


def percent_killed(counts):
    counted = counts[KILLED] + counts[SURVIVED]
    return 100 * counts[KILLED] / counted if counted else 100


def print_row(name, counts):
    print("%-32s %8d %9d %6.1f %%" % (name, counts[KILLED], counts[SURVIVED], percent_killed(counts)))


def main():
    args = parse_arguments()
    order = choose_mutants(args)
    if not order:
        print("mutate.py: there is no such mutant", file=sys.stderr)
        return EXIT_USAGE
    if args.list:
        for _, mutant in order:
            print(describe(mutant))
        print("%d mutants" % len(order))
        return 0
    begin, results = time.monotonic(), []
    tests = prepare(dict.fromkeys(group for group, _ in order), args.jobs)
    try:
        for number, (group, mutant) in enumerate(order, 1):
            if args.minutes and time.monotonic() - begin > 60 * args.minutes:
                print("%d mutants are left" % (len(order) - number + 1))
                break
            verdict, by = run_mutant(mutant, [tests[name] for name in GROUPS[group][1]], args.jobs)
            results.append((mutant, verdict))
            print("%d/%d %s%s: %s" % (number, len(order), verdict, by and " by " + by, describe(mutant)), flush=True)
    except KeyboardInterrupt:
        print("given up")
    return 0 if print_report(results, args.aim) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())

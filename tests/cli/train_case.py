"""What the tests of psgd-train share: how it is run, and what is asked of every run. The path of psgd-train is the first argument."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

TRAIN = sys.argv.pop(1)
MPIEXEC = os.environ.get("PSGD_TEST_MPIEXEC", "mpiexec")


def run(*arguments, workers=0, nodes=(), environment=None):
    """Runs psgd-train, alone or with so many workers, or one on each of these nodes (None: it has no name), and returns what came of it."""
    command = [TRAIN, *map(str, arguments)]
    if workers:
        command = [MPIEXEC, "-n", str(workers), *command]
    if nodes:
        parts = [["-n", "1", *(["-env", "PSGD_NODE", node] if node else []), *command] for node in nodes]
        command = [MPIEXEC, *sum(([":", *part] for part in parts), [])[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {})})


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)

    def succeed(self, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done

    def results(self, *arguments, **options):
        """The JSON of a run, which stands alone on standard output."""
        done = self.succeed(*arguments, "--json", **options)
        self.assertNotIn("\r", done.stderr)  # no progress line in a pipe
        return json.loads(done.stdout)

    def refuse(self, code, words, *arguments, **options):
        """It ends with this code, and says why: once, in a line that holds these words, and nothing on standard output.
        (On a busy machine the notice about compiling may come before.)"""
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        said = [line for line in done.stderr.splitlines() if line.startswith("psgd-train: ")
                and not line.startswith("psgd-train: compiling kernels")]
        self.assertEqual(len(said), 1, done.stderr)
        self.assertIn(words, said[0])

    def check_curve(self, result, quality, every, steps):
        """A test every so many steps, and one in the end, which is what the run came to."""
        curve = result["curve"]
        self.assertEqual([point["step"] for point in curve], [*(range(every, steps, every) if every else ()), steps])
        for key in ("bytes_total", "seconds"):
            values = [point[key] for point in curve]
            self.assertEqual(values, sorted(set(values)), key)
            self.assertAlmostEqual(values[-1], result[key], delta=1e-6 * values[-1])
        self.assertEqual((curve[-1]["test_loss"], curve[-1][quality]), (result["test_loss"], result[quality]))

"""What the tests of the tools share: how a tool is run, and what is asked of every run."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

MPIEXEC = os.environ.get("PSGD_TEST_MPIEXEC", "mpiexec")


def run_tool(tool, *arguments, workers=0, nodes=(), environment=None, under=()):
    """Runs the tool, alone or with so many workers, or one on each of these nodes (None: it has no name), each worker `under` a command of
    its own, and returns what came of it."""
    command = [*under, tool, *map(str, arguments)] if workers or nodes else [tool, *map(str, arguments)]
    if workers:
        command = [MPIEXEC, "-n", str(workers), *command]
    if nodes:
        parts = [["-n", "1", *(["-env", "PSGD_NODE", node] if node else []), *command] for node in nodes]
        command = [MPIEXEC, *sum(([":", *part] for part in parts), [])[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {})})


class ToolCase(unittest.TestCase):
    name = None  # of the tool, which begins what it says with it

    def run_it(self, *arguments, **options):
        """Runs the tool that is tested: run_tool()."""
        raise NotImplementedError

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)

    def write(self, name, text):
        path = self.path / name
        path.write_text(text)
        return path

    def succeed(self, *arguments, **options):
        done = self.run_it(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done

    def results(self, *arguments, **options):
        """The JSON of a run, which stands alone on standard output."""
        done = self.succeed(*arguments, "--json", **options)
        self.assertNotIn("\r", done.stderr)  # no progress line in a pipe
        return json.loads(done.stdout)

    def shared_results(self, *arguments, **options):
        """The same of a run that several tests of a class look at: it is made once."""
        runs = vars(type(self)).get("shared_runs")
        if runs is None:
            runs = type(self).shared_runs = {}
        key = (tuple(map(str, arguments)), tuple(sorted(options.items())))
        if key not in runs:
            runs[key] = self.results(*arguments, **options)
        return runs[key]

    def refuse(self, code, words, *arguments, **options):
        """It ends with this code, and says why: once, in a line that holds these words, and nothing on standard output.
        (On a busy machine the notice about compiling may come before.)"""
        done = self.run_it(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        self.assertEqual(done.stdout, "")
        said = [line for line in done.stderr.splitlines() if line.startswith(self.name + ": ")
                and not line.startswith(self.name + ": compiling kernels")]
        self.assertEqual(len(said), 1, done.stderr)
        self.assertIn(words, said[0])

"""What the tests of psgd-train share: how it is run, and what is asked of every run. The path of psgd-train is the first argument."""

import sys

from tool_case import ToolCase, run_tool

TRAIN = sys.argv.pop(1)


def run(*arguments, **options):
    """Runs psgd-train."""
    return run_tool(TRAIN, *arguments, **options)


class Case(ToolCase):
    name = "psgd-train"

    def run_it(self, *arguments, **options):
        return run(*arguments, **options)

    def check_curve(self, result, quality, every, steps):
        """A test every so many steps, and one in the end, which is what the run came to."""
        curve = result["curve"]
        self.assertEqual([point["step"] for point in curve], [*(range(every, steps, every) if every else ()), steps])
        for key in ("bytes_total", "seconds"):
            values = [point[key] for point in curve]
            self.assertEqual(values, sorted(set(values)), key)
            self.assertAlmostEqual(values[-1], result[key], delta=1e-6 * values[-1])
        self.assertEqual((curve[-1]["test_loss"], curve[-1][quality]), (result["test_loss"], result[quality]))

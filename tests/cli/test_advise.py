"""psgd-advise as a user runs it: described and measured machines, the answer no, JSON, calibrations, and what it says of wrong input;
check-advice and plot-scaling on made-up results.

test_advise.py PATH/psgd-advise PATH/psgd-bench SOURCE-DIRECTORY        (environment: PSGD_TEST_MPIEXEC, PSGD_TEST_WORKER_CACHE)
"""

import json
import os
import pathlib
import sys
import unittest
import xml.etree.ElementTree as ElementTree

from tool_case import ToolCase, run_tool

ADVISE, BENCH = sys.argv.pop(1), sys.argv.pop(1)
ROOT = pathlib.Path(sys.argv.pop(1))

SHAPES = """fc.weight 96 160
conv.weight 32 16 3 3
bias 10
"""
FAST = ("--device-gbs", 1000, "--device-gflops", 20000, "--staging-gbs", 25)


def run(*arguments, program=ADVISE, **options):
    """Runs psgd-advise, or psgd-bench; each worker with a kernel cache of its own."""
    cache = os.environ.get("PSGD_TEST_WORKER_CACHE")
    return run_tool(program, *arguments, under=["sh", cache] if cache else [], **options)


class Case(ToolCase):
    name = "psgd-advise"

    def run_it(self, *arguments, **options):
        return run(*arguments, **options)

    def setUp(self):
        super().setUp()
        self.shapes = self.write("shapes.txt", SHAPES)


class Described(Case):
    def test_a_slow_link_gets_a_yes_and_the_table_says_what_the_json_says(self):
        file = self.path / "advice.json"
        done = self.succeed("--model", "lstm", "--link-gbps", 0.1, *FAST, "--workers", 2, "--ranks", "2,4", "--json", file)
        result = json.loads(file.read_text())
        self.assertEqual((result["schema"], result["model"], result["parameters"], result["tensors"]),
                         (1, "lstm", 28949319, 14))
        self.assertEqual([one["workers"] for one in result["predictions"]], [2 ** k for k in range(1, 13)])
        first = result["predictions"][0]
        wire = 4 * 28949319 * (8e-9 / 0.1 + 0.1e-9) + 20e-6
        self.assertAlmostEqual(first["plain_allreduce_ms"], 1e3 * wire, delta=1e-5)
        self.assertEqual([one["rank"] for one in first["ranks"]], [2, 4])
        self.assertEqual(result["ranks"][1]["sent_elems"], 240545)
        advice = result["advice"]
        self.assertEqual((advice["compress"], advice["workers"]), (True, 2))
        self.assertIn("Compress, with rank", advice["sentence"])
        for words in (advice["sentence"], "%.3f" % first["plain_exposed_ms"], "%.3f" % first["ranks"][1]["exposed_ms"],
                      "240545", "0.1 Gbit/s (given)"):
            self.assertIn(words, done.stdout)

    def test_a_fast_link_gets_a_no_with_its_reason(self):
        computing = self.results("--model", "resnet50", "--link-gbps", 400, "--plain", "direct", "--device-gbs", 25)["advice"]
        self.assertEqual((computing["compress"], computing["rank"]), (False, None))
        self.assertIn("Do not compress here, with 8 workers: ", computing["sentence"])
        hidden = self.results("--model", "resnet50", "--link-gbps", 100, "--plain", "direct", "--backward-ms", 200, *FAST)["advice"]
        self.assertFalse(hidden["compress"])
        self.assertIn("are hidden there", hidden["sentence"])
        vectors = self.results("--model", self.write("vectors.txt", "a 1000\nb 500\n"), "--link-gbps", 0.1, *FAST)["advice"]
        self.assertFalse(vectors["compress"])
        self.assertIn("no tensor of this model", vectors["sentence"])

    def test_break_even_is_where_the_two_take_as_long(self):
        asked = ("--model", "resnet18", "--device-gbs", 25, "--workers", 4, "--ranks", 4, "--plain", "direct")
        edge = self.results(*asked, "--link-gbps", 1)["ranks"][0]
        self.assertEqual(edge["pays"], "below")
        for factor, sign in ((0.9, 1), (1.1, -1)):
            at = self.results(*asked, "--link-gbps", factor * edge["break_even_gbps"])["predictions"][1]
            self.assertEqual(at["workers"], 4)
            self.assertGreater(sign * (at["plain_exposed_ms"] - at["ranks"][0]["exposed_ms"]), 0)

    def test_a_faster_link_is_never_slower(self):
        times = [self.results("--link-gbps", gbps, "--device-gbs", 25, "--ranks", 4)["predictions"][3] for gbps in (0.1, 1, 10, 100)]
        for key in (lambda at: at["plain_exposed_ms"], lambda at: at["ranks"][0]["exposed_ms"]):
            self.assertEqual([key(at) for at in times], sorted((key(at) for at in times), reverse=True))

    def test_workers_that_are_no_power_of_two_have_a_row(self):
        result = self.results("--link-gbps", 1, "--device-gbs", 25, "--workers", 12)
        self.assertEqual([one["workers"] for one in result["predictions"]][:5], [2, 4, 8, 12, 16])
        self.assertEqual(result["advice"]["workers"], 12)

    def test_the_memory_of_a_reducer_is_about_what_it_takes(self):
        for model in ("resnet18", "lstm"):
            plan = json.loads(self.succeed("--model", model, "--rank", 4, "--plan", "--json", program=BENCH).stdout)
            rank = self.results("--model", model, "--ranks", 4, "--link-gbps", 1, "--device-gbs", 25)["ranks"][0]
            self.assertEqual(rank["sent_elems"], plan["sent_elems"])
            self.assertAlmostEqual(rank["reducer_bytes"], plan["device_bytes"], delta=0.05 * plan["device_bytes"])


class Measured(Case):
    def test_one_worker_measures_its_device(self):
        result = self.results("--model", self.shapes, "--ranks", "1,4", "--steps", 2, "--link-gbps", 1)
        self.assertEqual((result["device"]["source"], result["link"]["source"]), ("measured", "given"))
        self.assertGreater(result["device"]["gbs"], 0)
        for rank in result["ranks"]:
            parts = sum(rank[key] for key in ("compute_p_ms", "compute_q_ms", "decompress_ms", "ortho_ms", "rest_ms"))
            self.assertAlmostEqual(rank["local_ms"], parts, delta=1e-6 * parts)
            self.assertGreater(rank["compute_p_ms"], 0)

    def test_two_workers_measure_memory_save_it_and_are_asked_about_a_link(self):
        file = self.path / "calibration.json"
        here = self.results("--model", self.shapes, "--ranks", "1,4", "--steps", 2, "--save-calibration", file, workers=2)
        self.assertEqual((here["link"]["source"], here["link"]["gbps"], here["advice"]["workers"]), ("measured", None, 2))
        again = self.results("--model", self.shapes, "--ranks", "1,4", "--workers", 2, "--calibration", file)
        for one, other in zip(here["predictions"], again["predictions"]):
            self.assertAlmostEqual(one["plain_allreduce_ms"], other["plain_allreduce_ms"], delta=1e-5 * one["plain_allreduce_ms"])
            self.assertAlmostEqual(one["ranks"][1]["step_ms"], other["ranks"][1]["step_ms"], delta=1e-5 * one["ranks"][1]["step_ms"])
        slow = self.results("--model", self.shapes, "--ranks", 4, "--workers", 2, "--calibration", file, "--link-gbps", 0.1)
        wire_ms = 1e3 * 4 * slow["parameters"] * 8e-9 / 0.1
        self.assertAlmostEqual(slow["predictions"][0]["plain_allreduce_ms"],
                               wire_ms + 4e-6 * slow["parameters"] / slow["link"]["host_gbs"] + 0.02, delta=1e-4 * wire_ms)
        self.refuse(2, "rank 2 was not measured", "--ranks", 2, "--calibration", file, "--in-memory")
        self.refuse(2, "is of steps without --finite", "--ranks", 4, "--finite", "--calibration", file, "--in-memory")

    def test_a_model_that_is_too_large_is_measured_in_part(self):
        whole = self.results("--model", self.shapes, "--ranks", 4, "--steps", 2, "--link-gbps", 1)
        part = self.results("--model", self.shapes, "--ranks", 4, "--steps", 2, "--link-gbps", 1, "--measure-elems", 16000)
        self.assertEqual(whole["ranks"][0]["sent_elems"], part["ranks"][0]["sent_elems"])
        self.refuse(1, "no tensor of two dims or more fits into 1000 elements", "--model", self.shapes, "--link-gbps", 1,
                    "--measure-elems", 1000)


class Refused(Case):
    def test_wrong_options(self):
        for arguments, words in (
                (["--ranks", "0"], "--ranks takes whole numbers from 1 to"),
                (["--ranks", "4,2000"], "--ranks takes whole numbers from 1 to"),
                (["--ranks", "4,"], "--ranks takes whole numbers from 1 to"),
                (["--ranks", ",".join(["1"] * 17)], "--ranks takes at most 16 ranks"),
                (["--device-gbs", "0"], "--device-gbs takes a number from 0.001 to"),
                (["--device-gbs", "-5"], "--device-gbs takes a number from 0.001 to"),
                (["--staging-gbs", "0"], "--staging-gbs takes a number from 0.001 to"),
                (["--link-gbps", "-1"], "--link-gbps takes a number from 0.001 to"),
                (["--link-gbps", "0"], "--link-gbps takes a number from 0.001 to"),
                (["--link-gbps", "nan"], "--link-gbps takes a number from 0.001 to"),
                (["--link-latency-us", "0"], "--link-latency-us takes a number from 0.001 to"),
                (["--host-gbs", "-1"], "--host-gbs takes a number from 0.001 to"),
                (["--workers", "1"], "--workers takes a whole number from 2 to 4096"),
                (["--workers", "5000"], "--workers takes a whole number from 2 to 4096"),
                (["--in-memory", "--link-gbps", "1"], "exclude each other"),
                (["--launch-us", "4"], "needs --device-gbs too"),
                (["--device-gflops", "4"], "needs --device-gbs too"),
                (["--calibration", "a", "--save-calibration", "b"], "exclude each other"),
                (["--device-gbs", "4", "--device", "cpu"], "give one of them"),
                (["--plain", "no"], "--plain takes host|direct, not 'no'"),
                (["--wrong"], "unknown option '--wrong'")):
            self.refuse(2, words, *arguments)

    def test_one_worker_has_no_link(self):
        self.refuse(2, "one worker has no link to measure", "--device-gbs", 10)

    def test_models_that_cannot_be_read(self):
        known = ("--device-gbs", 10, "--link-gbps", 1)
        self.refuse(2, "--model takes resnet18, resnet50, lstm, gpt2 or a file; nothere: No such file", "--model", "nothere", *known)
        path = self.write("bad.txt", "a 10 20\nb 10 x\n")
        self.refuse(2, "%s:2:6: a dim is a whole number of 1 or more" % path, "--model", path, *known)
        self.refuse(2, "no tensor before the end", "--model", self.write("empty.txt", "# nothing\n"), *known)

    def test_calibrations_that_cannot_be_read(self):
        self.refuse(1, "No such file", "--calibration", self.path / "none.json", "--in-memory")
        path = self.write("bad.json", "{\n  \"schema\": oops}\n")
        self.refuse(1, "%s:2:13: a number, a text" % path, "--calibration", path)
        only_link = self.write("link.json", json.dumps({"schema": 1, "has_link": True, "link_bytes": [100], "link_ns_per_byte": [8]}))
        self.refuse(2, "holds no device", "--calibration", only_link)
        self.succeed("--calibration", only_link, "--device-gbs", 100)

    def test_files_that_cannot_be_written(self):
        self.refuse(1, "/nowhere/advice.json", "--device-gbs", 10, "--link-gbps", 1, "--json", "/nowhere/advice.json")

    def test_help_and_version(self):
        self.assertIn("--link-gbps", self.succeed("--help").stdout)
        self.assertRegex(self.succeed("--version").stdout, r"^psgd-advise \d+\.\d+\.\d+")


FAKE_ADVISE = """#!/usr/bin/env python3
import json, sys
file = sys.argv[sys.argv.index("--save-calibration" if "--save-calibration" in sys.argv else "--json") + 1]
json.dump({"predictions": [{"workers": w, "plain_allreduce_ms": 100.0, "ranks": [{"rank": 4, "step_ms": 10.0}]} for w in (2, 4)]},
          open(file, "w"))
"""
FAKE_BENCH = """#!/usr/bin/env python3
import json, sys
json.dump({"step_ms": {"median": %s}, "plain_allreduce_ms": {"median": 100.0}}, open(sys.argv[sys.argv.index("--json") + 1], "w"))
"""
FAKE_LAUNCHER = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n"
FAKE_MPIEXEC = "#!/bin/sh\nshift 2\nexec \"$@\"\n"


class Checked(Case):
    def program(self, name, text):
        path = self.write(name, text)
        path.chmod(0o755)
        return path

    def check(self, step, *arguments):
        self.program("psgd-advise", FAKE_ADVISE)
        self.program("psgd-bench", FAKE_BENCH % step)
        return run("-B", ROOT / "tools" / "check-advice", "--tools", self.path, "--two-hosts",
                   self.program("launcher", FAKE_LAUNCHER), "--mpiexec", self.program("mpiexec", FAKE_MPIEXEC), "--rounds", 2,
                   *arguments, program=sys.executable)

    def test_within_the_bar_is_0_and_beyond_it_is_1(self):
        for step, code in (("10.0", 0), ("12.4", 0), ("8.1", 0), ("12.6", 1), ("7.9", 1)):
            done = self.check(step)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            self.assertEqual(done.stdout.count("beyond 25 %"), 4 * code)

    def test_what_psgd_advise_does_not_take_ends_it_at_once(self):
        self.program("psgd-bench", FAKE_BENCH % "10.0")
        self.program("psgd-advise", "#!/bin/sh\necho psgd-advise: no such model >&2\nexit 2\n")
        done = run("-B", ROOT / "tools" / "check-advice", "--tools", self.path, "--mpiexec",
                   self.program("mpiexec", FAKE_MPIEXEC), "--rounds", 2, program=sys.executable)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("no such model")), (2, "", 1), done.stderr)

    def test_other_numbers_of_workers_have_no_bar(self):
        file = self.path / "rows.json"
        done = self.check("10.0", "--hosts", "2,4", "--links", "1gbit,memory", "--json", file)
        self.assertEqual((done.returncode, done.stdout.count("no bar")), (0, 4), done.stderr)
        self.assertEqual(len(json.loads(file.read_text())["rows"]), 8)
        done = self.check("30.0", "--hosts", "4", "--links", "memory")
        self.assertEqual((done.returncode, done.stdout.count("no bar")), (0, 2), done.stderr)

    def test_a_run_without_results_is_said_and_fails(self):
        done = self.check("oops")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no results", done.stderr)
        self.assertIn("no run", done.stdout)

    def test_wrong_links_are_refused(self):
        done = self.check("1.0", "--links", "1parsec")
        self.assertEqual(done.returncode, 2)
        self.assertIn("'1parsec' is neither", done.stderr)


class Plotted(Case):
    def plot(self, *files, code=0):
        svg = self.path / "plot.svg"
        done = run("-B", ROOT / "tools" / "plot-scaling", *files, "--out", svg, program=sys.executable)
        self.assertEqual(done.returncode, code, done.stderr)
        return ElementTree.parse(svg).getroot() if code == 0 else done.stderr

    def test_a_line_for_each_link(self):
        files = []
        for gbps in (1, 100):
            files.append(self.path / ("%d.json" % gbps))
            self.succeed("--link-gbps", gbps, *FAST, "--ranks", 4, "--json", files[-1])
        lines = self.plot(*files).findall(".//{http://www.w3.org/2000/svg}polyline")
        self.assertEqual(len(lines), 2)

    def test_what_is_no_advice_is_refused(self):
        self.assertIn("is no JSON", self.plot(self.write("a.json", "{"), code=2))
        self.assertIn("not of psgd-advise", self.plot(self.write("b.json", "{}"), code=2))


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""compare-peers and plot-ranks on made-up programs and results: no PyTorch and no device is needed.

test_peers.py SOURCE-DIRECTORY
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(ROOT / "tools" / "peers"))

import models  # noqa: E402 (found by the line above)

SVG = "{http://www.w3.org/2000/svg}"
failures = 0


def check(what, holds, done=None):
    global failures
    print("%s  %s" % ("ok    " if holds else "FAILED", what), flush=True)
    if not holds:
        failures += 1
        if done is not None:
            print("  exit status %d\n  stdout: %s\n  stderr: %s" % (done.returncode, done.stdout, done.stderr))


def run(tool, *arguments):
    return subprocess.run([sys.executable, "-B", str(ROOT / "tools" / tool), *map(str, arguments)], capture_output=True,
                          text=True, timeout=120)


def is_one_sentence(done):
    return done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


# --- plot-ranks -------------------------------------------------------------------------------------------------------


def result(label, rank, median):
    return {"label": label, "rank": rank, "step_ms": {"median": median, "min": median, "max": median}}


def plot(directory, *documents):
    """The SVG's root, or None, of these JSON documents (text as it is)."""
    paths = []
    for number, document in enumerate(documents):
        paths.append(directory / ("results%d.json" % number))
        paths[-1].write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    svg = directory / "plot.svg"
    svg.unlink(missing_ok=True)
    done = run("plot-ranks", *paths, "--out", svg)
    return ElementTree.parse(svg).getroot() if svg.exists() else None, done


def count(root, tag):
    return 0 if root is None else len(root.findall(".//%s%s" % (SVG, tag)))


def words(root):
    return [] if root is None else [element.text for element in root.iter(SVG + "text")]


def check_plot_of_comparison(directory):
    ranks = (1, 2, 4, 8)
    names = ("libpsgd, auto", "a <peer> & more", "all-reduce")
    results = [result(name, rank, 3.0 + 10 * i + rank) for i, name in enumerate(names) for rank in ranks]
    root, done = plot(directory, {"model": "lstm", "workers": 2, "results": results})
    check("a comparison gives well-formed SVG", done.returncode == 0 and root is not None, done)
    check("a line a contender", count(root, "polyline") == len(names), done)
    check("a mark a result", count(root, "circle") == len(results), done)
    check("the lines are named", set(names) <= set(words(root)), done)
    check("the axes say rank and milliseconds", "rank r" in words(root)
          and any("milliseconds" in text for text in words(root)), done)
    check("the title has the model", "lstm, 2 workers" in words(root), done)
    again, _ = plot(directory, {"model": "lstm", "workers": 2, "results": results}, {"results": results[:4]})
    check("files with the same line keep both", count(again, "polyline") == len(names) + 1)


def check_plot_of_sweep(directory):
    sweep = [dict(result("", rank, 2.0 * rank), plain_allreduce_ms={"median": 40.0}) for rank in (1, 4)]
    root, done = plot(directory, {"sweep": sweep, "engine_asked": "fused", "finite": True})
    check("a sweep of psgd-bench is plotted beside the plain all-reduce", count(root, "polyline") == 2, done)
    check("by the name of its engine and form", "libpsgd, fused, finite" in words(root), done)
    root, done = plot(directory, {"sweep": sweep[:1]})
    check("a single rank is plotted too", count(root, "circle") == 2, done)


def check_plot_of_nonsense(directory):
    bad = {
        "no JSON": "{", "a list": [], "neither kind": {"model": "x"}, "no results": {"results": []},
        "results of another kind": {"results": [1, 2]}, "no time": {"results": [{"rank": 1}]},
        "a rank of 0": {"results": [result("x", 0, 1.0)]}, "no time at all": {"sweep": [result("x", 1, 0.0)]},
    }
    for what, document in bad.items():
        root, done = plot(directory, document)
        check("%s: one sentence, exit 2, no file" % what,
              done.returncode == 2 and root is None and is_one_sentence(done), done)
    done = run("plot-ranks", directory / "absent.json", "--out", directory / "plot.svg")
    check("no such file: one sentence, exit 2", done.returncode == 2 and is_one_sentence(done), done)


# --- compare-peers ----------------------------------------------------------------------------------------------------

# As mpiexec and psgd-bench at once: takes 6 ms a step at rank 2, with --finite 4 ms.
FAKE_BENCH = """#!%s
import json, sys
options = dict(zip(sys.argv, sys.argv[1:]))
rank = int(options["--rank"])
assert sum(1 for line in open(options["--model"])) == 2
step = (2.0 if "--finite" in sys.argv else 3.0) * rank
spread = {"median": step, "min": step, "max": step}
json.dump({"step_ms": spread, "plain_allreduce_ms": {"median": 12.0, "min": 12.0, "max": 12.0}, "launches": 7},
          open(options["--json"], "w"))
"""


def make_fake(directory):
    shapes, bench = directory / "shapes.txt", directory / "bench"
    shapes.write_text("# two tensors\nweight 16 8 3\n\nbias 16  # a vector\n", encoding="utf-8")
    bench.write_text(FAKE_BENCH % sys.executable, encoding="utf-8")
    bench.chmod(0o755)
    return shapes, bench


def compare(directory, *arguments):
    shapes, bench = make_fake(directory)
    return run("compare-peers", "--model", shapes, "--bench", bench, "--mpiexec", bench, "--rounds", 2, *arguments)


def check_comparison(directory):
    done = compare(directory, "--ranks", "2,4", "--peers", "gloo", "--python", directory / "absent", "--json", "-")
    check("without PyTorch the rest is compared", done.returncode == 0 and '"results"' in done.stdout, done)
    check("and a sentence says what is missing", "does not run: name a Python that has PyTorch" in done.stderr, done)
    results = json.loads(done.stdout or "{}").get("results", [])
    check("two forms and MPI's all-reduce at two ranks", len(results) == 6, done)
    plain = [row for row in results if row["rank"] == 2 and row["contender"] == "mpi"]
    check("ratios are ours over theirs", [row["ratios"] for row in plain] ==
          [{"psgd-auto": 0.5, "psgd-auto-finite": 4 / 12}], done)
    check("what psgd-bench tells is kept", all(row.get("launches") == 7 for row in results if row["is_ours"]), done)
    done = compare(directory, "--rank", "2", "--finite", "no", "--peers", "gloo", "--python", directory / "absent")
    check("the table has medians and ratios", "rank 2" in done.stdout and "6.00" in done.stdout and "0.50" in done.stdout, done)


def check_bad_use(directory):
    done = run("compare-peers", "--bench", directory / "absent", "--python", directory / "absent")
    check("with nothing to time it fails", done.returncode == 1 and "build it" in done.stderr, done)
    for text in ("weight\n", "weight 3 x\n", "weight 3 0\n", "# nothing\n"):
        (directory / "bad.txt").write_text(text, encoding="utf-8")
        done = run("compare-peers", "--model", directory / "bad.txt")
        check("a file of shapes %r: one sentence, exit 2" % text, done.returncode == 2 and is_one_sentence(done), done)
    for arguments in (("--rank", "0"), ("--engines", "fast"), ("--peers", "x"), ("--model", directory / "absent.txt")):
        check("%s %s: exit 2" % arguments, run("compare-peers", *arguments).returncode == 2)


def check_models():
    expected = {"resnet18": 11173962, "resnet50": 25557032, "lstm": 28949319, "gpt2": 124439808}
    for name, parameters in expected.items():
        tensors = models.MODELS[name]()
        check("%s has %d parameters" % (name, parameters), models.num_parameters(tensors) == parameters)
        check("and no name twice", len({tensor for tensor, _ in tensors}) == len(tensors))


with tempfile.TemporaryDirectory() as name:
    scratch = pathlib.Path(name)
    check_models()
    check_plot_of_comparison(scratch)
    check_plot_of_sweep(scratch)
    check_plot_of_nonsense(scratch)
    check_comparison(scratch)
    check_bad_use(scratch)
sys.exit(1 if failures else 0)

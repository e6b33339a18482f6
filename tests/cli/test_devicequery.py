"""psgd-devicequery as a user runs it: exit status, text, JSON, the self-test passing and failing.

test_devicequery.py PSGD-DEVICEQUERY
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOOL = sys.argv[1]
ROOT = pathlib.Path(os.environ["PSGD_TEST_SOURCE_DIR"])
DOC = (ROOT / "docs" / "devicequery.md").read_text(encoding="utf-8")
failures = 0


def run(*arguments, **environment):
    """Runs the tool on PoCL with these variables set (None: not set)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PSGD_")}
    env["OCL_ICD_VENDORS"] = "pocl.icd"
    for name, value in environment.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return subprocess.run([TOOL, *arguments], capture_output=True, timeout=250, env=env)


def check(what, holds, done=None):
    global failures
    print("%s  %s" % ("ok    " if holds else "FAILED", what), flush=True)
    if not holds:
        failures += 1
        if done is not None:
            print("  exit status %d\n  stdout: %s\n  stderr: %s" % (
                done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")))


def text(done):
    return done.stdout.decode("utf-8")


def document(done):
    try:
        return json.loads(done.stdout.decode("utf-8"))
    except ValueError as error:
        check("stdout is one JSON document (%s)" % error, False, done)
        return {}


def keys_of(value):
    """All keys of objects within, at any depth."""
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    if isinstance(value, list):
        return {key for inner in value for key in keys_of(inner)}
    return set()


def documented_keys():
    """The keys in the first column of the tables behind "## JSON", and those named in prose there."""
    part = DOC[DOC.index("## JSON"):]
    keys = set()
    for line in part.splitlines():
        if line.startswith("| `"):
            keys |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    row = re.search(r"\| `largest_model`[^\n]*", part).group(0)
    last = part[part.index("Each of `environment`"):]
    return keys | set(re.findall(r"`(\w+)`", row)) | {"name", "value", "meaning"} & set(re.findall(r"`(\w+)`", last))


def check_report():
    done = run()
    check("the report exits 0 on a usable device", done.returncode == 0, done)
    check("and has a verdict, limits and formula", all(words in text(done) for words in (
        "ready: libpsgd runs here", "largest buffer", "local memory", "unified memory", "denormals", "largest model",
        "global_memory_bytes / 4 / (3 + ", "can run here, on device")), done)
    check("and nothing on stderr", done.stderr == b"", done)


def check_choice():
    listed = run("--list", POCL_DEVICES="pthread pthread")
    lines = text(listed).splitlines()
    check("--list prints a line a device", listed.returncode == 0 and len(lines) == 2 and "ready" in lines[0], listed)
    for which in ("0", "0:0", "cpu", "CPU", "pocl", "portable computing"):
        done = run("-d", which, "--list", POCL_DEVICES="pthread pthread")
        check("-d '%s' is the first device" % which, done.returncode == 0 and text(done) == lines[0] + "\n", done)
    for which in ("1", "0:1"):
        done = run("--device=" + which, "--list", POCL_DEVICES="pthread pthread")
        check("-d '%s' is the second device" % which, done.returncode == 0 and text(done) == lines[1] + "\n", done)
    done = run("--list", PSGD_DEVICE="0:1", POCL_DEVICES="pthread pthread")
    check("PSGD_DEVICE does not hide the others", done.returncode == 0 and text(done).splitlines() == lines, done)
    done = run("--json", PSGD_DEVICE="0:1", POCL_DEVICES="pthread pthread")
    check("and is what is chosen", document(done).get("chosen") == 1, done)
    for which in ("7", "3:3", "accelerator", "no such device"):
        done = run("-d", which, "--list")
        check("-d '%s' exits 1 and names what there is" % which, done.returncode == 1 and done.stdout == b"" and
              b"there are: 0 (0:0)" in done.stderr, done)
    done = run("--list", PSGD_DEVICE="no such device")
    check("an impossible PSGD_DEVICE exits 1", done.returncode == 1 and b"'no such device'" in done.stderr, done)


def check_usage():
    done = run("--help")
    check("--help exits 0 on stdout", done.returncode == 0 and "Usage:" in text(done) and done.stderr == b"", done)
    for option in ("--list", "--device", "--selftest", "--json", "--env", "--version"):
        check("--help knows %s" % option, option in text(done), done)
    done = run("--version")
    header = (ROOT / "include" / "psgd" / "psgd.h").read_text(encoding="utf-8")
    version = re.search(r'PSGD_VERSION_STRING "([^"]+)"', header).group(1)
    check("--version is the header's", done.returncode == 0 and text(done).split()[-1] == version, done)
    for wrong in (("--nonsense",), ("-x",), ("gpu",), ("-d",), ("-d", ""), ("--json=1",), ("--env", "--list"),
                  ("--env", "--selftest"), ("--env", "-d", "0")):
        done = run(*wrong)
        check("'%s' exits 2 with words on stderr" % " ".join(wrong),
              done.returncode == 2 and done.stdout == b"" and b"--help" in done.stderr, done)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([TOOL, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    check("a report that cannot be written is an error", done.returncode == 1 and b"cannot write" in done.stderr)


def check_no_device():
    with tempfile.TemporaryDirectory() as empty:
        done = run(OCL_ICD_VENDORS=empty)
        check("without a driver it exits 1", done.returncode == 1, done)
        check("says so, and names the packages", all(words in text(done) for words in (
            "no OpenCL device", "pocl-opencl-icd", "mesa-opencl-icd")), done)
        done = run("--json", "--selftest", OCL_ICD_VENDORS=empty)
        found = document(done)
        check("the same as JSON", done.returncode == 1 and found.get("usable") is False and found.get("devices") == [] and
              found.get("chosen", 0) is None and "pocl-opencl-icd" in found.get("message", ""), done)
        done = run("--env", OCL_ICD_VENDORS=empty)
        check("--env needs no driver", done.returncode == 0, done)


def check_environment():
    done = run("--env", PSGD_LOG="info", PSGD_DEVICE=None)
    check("--env prints values", done.returncode == 0 and "PSGD_LOG=info\n" in text(done) and
          "PSGD_DEVICE=(not set)\n" in text(done), done)
    table = re.findall(r'ROW\(\w+, "(PSGD_\w+)"', (ROOT / "src" / "base" / "env.h").read_text(encoding="utf-8"))
    check("all %d variables" % len(table), len(table) > 0 and all(name in text(done) for name in table), done)
    done = run("--env", "--json")
    check("--env --json has schema, version and environment", set(document(done)) == {"schema", "version", "environment"},
          done)
    nasty = 'quote " backslash \\ newline \n tab \t bell \x07 delete \x7f umlaut \u00fc clef \U0001d11e end'
    found = document(run("--env", "--json", PSGD_DEVICE=nasty))
    values = {row["name"]: row["value"] for row in found["environment"]}
    check("JSON text is escaped", values.get("PSGD_DEVICE") == nasty)
    broken = os.fsdecode(b"bytes \xff\xc0\xaf\xed\xa0\x80 end \xc3")
    found = document(run("--env", "--json", PSGD_DEVICE=broken))
    values = {row["name"]: row["value"] for row in found["environment"]}
    check("and what is not UTF-8 is replaced", values.get("PSGD_DEVICE") == "bytes " + 6 * "\ufffd" + " end \ufffd")


def check_json_and_selftest():
    done = run("--selftest", "--json")
    found = document(done)
    check("--selftest passes", done.returncode == 0 and (found.get("selftest") or {}).get("passed") is True, done)
    check("JSON has schema 1", found.get("schema") == 1)
    check("and nothing else is on stdout", text(done).startswith("{\n") and text(done).endswith("\n}\n"))
    keys, documented = keys_of(found), documented_keys()
    check("every key is documented (%s)" % sorted(keys - documented), keys <= documented)
    check("every documented key is there (%s)" % sorted(documented - keys), documented <= keys)
    device = found["devices"][found["chosen"]]
    check("booleans are booleans", all(isinstance(device[key], bool) for key in (
        "usable", "unified_memory", "out_of_order_queue", "fp16", "fp64", "fma", "denormals")))
    check("counts are integers above 0", all(type(device[key]) is int and device[key] > 0 for key in (
        "global_memory_bytes", "max_allocation_bytes", "local_memory_bytes", "max_work_group_size", "compute_units",
        "base_alignment_bytes")))
    capacity = device["largest_model"]
    value = eval(capacity["formula"], {}, {"global_memory_bytes": device["global_memory_bytes"], "rank": capacity["rank"]})
    check("the formula gives the largest model", abs(value - capacity["parameters"]) <= 1)
    check("and the largest tensor", capacity["tensor_elems"] == min(device["max_allocation_bytes"] // 4, 2 ** 31 - 1))
    test = found["selftest"]
    check("the self-test has looked at something", test["update_values"] > 1000 and test["random_values"] > 1000 and
          test["steps"] == 3 and 0 < test["update_deviation"] <= test["deviation_bound"] and
          0 < test["error_deviation"] <= test["deviation_bound"])
    done = run("--selftest", "--list")
    check("the self-test as text", done.returncode == 0 and "self-test passed\n" in text(done) and
          "FAILED" not in text(done), done)


def check_selftest_fails():
    with tempfile.TemporaryDirectory() as kernels:
        done = run("--selftest", "--json", PSGD_KERNEL_DIR=kernels)
        test = document(done).get("selftest") or {}
        check("a self-test that cannot run exits 3 and says why", done.returncode == 3 and test.get("passed") is False and
              kernels in (test.get("message") or ""), done)
        for file in (ROOT / "cl").iterdir():
            shutil.copy(file, kernels)
        file = pathlib.Path(kernels) / "compute_p.cl"
        source = file.read_text(encoding="utf-8")
        wrong = source.replace("b->cols + j) + LOAD_ERROR(b->error", "b->cols + j) - LOAD_ERROR(b->error")
        check("the sum of gradient and error was found in the kernel", wrong != source)
        file.write_text(wrong, encoding="utf-8")
        done = run("--selftest", "--json", PSGD_KERNEL_DIR=kernels)
        test = document(done).get("selftest") or {}
        check("a wrong kernel fails the compressed steps", done.returncode == 3 and test.get("passed") is False and
              test.get("update_wrong") == 0 and test.get("update_deviation", 0) > 0.01, done)


check_usage()
check_report()
check_choice()
check_no_device()
check_environment()
check_json_and_selftest()
check_selftest_fails()
print("%d checks failed" % failures if failures else "all checks passed")
sys.exit(1 if failures else 0)

"""Every text file: UTF-8, no tabs, no blanks at line ends, Unix line ends, a newline at the end, no overlong lines.

Code aims at 120 columns, and may pass them by a word where a break would read worse. Prose and data may have longer lines;
recorded cases (tests/golden) and inputs of fuzzers (tests/fuzz/corpus) are left as they are.
"""

import re

from source import ROOT, finish, project_files

BINARY = {".f32", ".png", ".gz"}
LONG_LINES = {".svg", ".md", ".json", ".txt", ".supp"}
MAX_COLUMNS = 140
# A word at which unfinished work is recognized, put together so that this file does not hold it.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")

problems, checked = [], 0
for path in project_files():
    if path.suffix in BINARY or path.parts[:2] == ("tests", "golden") or "corpus" in path.parts:
        continue
    checked += 1
    data = (ROOT / path).read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        problems.append("%s: not UTF-8" % path)
        continue
    if b"\r" in data:
        problems.append("%s: has carriage returns" % path)
    if data and not data.endswith(b"\n"):
        problems.append("%s: no newline at the end" % path)
    if data.endswith(b"\n\n"):
        problems.append("%s: blank lines at the end" % path)
    for number, line in enumerate(text.split("\n"), 1):
        where = "%s:%d: " % (path, number)
        if "\t" in line:
            problems.append(where + "a tab")
        if line != line.rstrip():
            problems.append(where + "blanks at the end of the line")
        if len(line) > MAX_COLUMNS and path.suffix not in LONG_LINES:
            problems.append(where + "%d columns" % len(line))
        if UNFINISHED.search(line):
            problems.append(where + "unfinished: " + line.strip())
    if path.name in ("CMakeLists.txt",) or path.suffix == ".cmake":
        if re.search(r"file\s*\(\s*GLOB", text, re.IGNORECASE):
            problems.append("%s: lists its files by a pattern" % path)
finish(problems, checked)

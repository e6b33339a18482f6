"""What README.md and docs/ say exists: links, files, tools and their options, environment variables, phases, presets.

check_docs.py [DIRECTORY OF THE TOOLS]
"""

import json
import os
import pathlib
import re
import subprocess
import sys

from source import ROOT, files, finish, read

DOCS = files("*.md", "docs/**/*.md")
TEXT = {path: read(path) for path in DOCS}
ALL_DOCS = "\n".join(text for path, text in TEXT.items() if path.parts[0] == "docs" or path.name == "README.md")

problems, checked = [], 0


def anchor(heading):
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return words.replace(" ", "-")


def check_links():
    """[text](target) within the project: the file is there, and its #heading too."""
    global checked
    for path, text in TEXT.items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:", target):
                continue
            checked += 1
            name, _, heading = target.partition("#")
            file = (ROOT / path.parent / name).resolve() if name else ROOT / path
            if not file.exists():
                problems.append("%s: link to %s, which is not there" % (path, target))
            elif heading:
                anchors = {anchor(line.lstrip("#")) for line in file.read_text(encoding="utf-8").splitlines()
                           if line.startswith("#")}
                if heading not in anchors:
                    problems.append("%s: no heading #%s in %s" % (path, heading, file.name))


def shell_commands(text):
    """The lines of the ```sh blocks; continued ones joined, comments and prompts taken off."""
    for block in re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"(^|\s)#.*", "", line).strip()
            if line:
                yield line


def tool_help(tools, name):
    tool = pathlib.Path(tools) / name
    if not tool.exists():
        return None
    done = subprocess.run([str(tool), "--help"], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def check_commands(tools):
    """Scripts are there; tools are there and know the options; presets and targets of cmake exist."""
    global checked
    presets = {preset["name"] for preset in json.loads(read("CMakePresets.json"))["configurePresets"]}
    helps = {}
    for path, text in TEXT.items():
        for command in shell_commands(text):
            checked += 1
            for script in re.findall(r"\b(?:sh|bash|python3) ([\w./-]+\.(?:sh|py))", command):
                if not (ROOT / script).exists():
                    problems.append("%s: '%s': there is no %s" % (path, command, script))
            for preset in re.findall(r"--preset[ =](\S+)", command):
                if preset not in presets:
                    problems.append("%s: '%s': no preset %s" % (path, command, preset))
            match = re.search(r"(?:^|[\s/])(psgd-[a-z]+)(\s.*)?$", command)
            if match and tools:
                name, arguments = match.group(1), match.group(2) or ""
                if name not in helps:
                    helps[name] = tool_help(tools, name)
                if helps[name] is None:
                    problems.append("%s: '%s': there is no %s" % (path, command, name))
                    continue
                for option in re.findall(r"(?<=\s)(--[a-z][\w-]*|-[a-zA-Z])(?=[\s=]|$)", arguments):
                    if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(option), helps[name]):
                        problems.append("%s: '%s': %s --help does not know %s" % (path, command, name, option))


def check_environment():
    """Every variable of the library's table, and every one that scripts, tools and tests read, is in the docs."""
    global checked
    documented = set(re.findall(r"`(PSGD_[A-Z_]+)", ALL_DOCS))
    table = set(re.findall(r'ROW\(\w+, "(PSGD_\w+)"', read("src/base/env.h")))
    used = {}
    for path in files("src/**/*.c", "tools/**/*.c", "tests/**/*.c"):
        for name in re.findall(r'getenv\(\s*"(PSGD_\w+)"', read(path)):
            used.setdefault(name, path)
    for path in files("tools/**/*.py", "tests/**/*.py"):
        for name in re.findall(r'environ(?:\.get\(|\[)\s*"(PSGD_\w+)"', read(path)):
            used.setdefault(name, path)
    if not table:
        problems.append("src/base/env.h: no table of variables was found")
    for name in sorted(table | set(used)):
        checked += 1
        if name not in documented:
            problems.append("%s: %s is not documented in README.md or docs/" % (used.get(name, "src/base/env.h"), name))
    options = set(re.findall(r"^(?:option|set)\((PSGD_[A-Z_]+) [^\n]*(?:CACHE|ON\)|OFF\)|\$\{)", read("CMakeLists.txt"),
                             re.MULTILINE))
    for name in sorted(options):
        checked += 1
        if name not in documented:
            problems.append("CMakeLists.txt: %s is not documented in docs/" % name)


def check_phases():
    """The phases of a step go by the same words in the header, in step.c and in the docs."""
    global checked
    header = read("include/psgd/psgd.h")
    how = read("docs/how-it-works.md")
    words = re.findall(r'ROW\(([A-Z_]+), "(\w+)", ', header[header.index("define PSGD_PHASE_TABLE"):])
    if not words:
        problems.append("include/psgd/psgd.h: no table of phases was found")
    position = 0
    for name, word in words:
        checked += 1
        found = how.find("`%s`" % word, position)
        if name.lower() != word or found < 0:
            problems.append("docs/how-it-works.md: phase `%s` is not there, or not in the order of the header" % word)
        position = max(found, position)


check_links()
check_commands(sys.argv[1] if len(sys.argv) > 1 else None)
check_environment()
check_phases()
finish(problems, checked)

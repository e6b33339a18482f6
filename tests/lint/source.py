"""What the lint checks share: the files of the project, C text without comments and strings, and how problems are told."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

_COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def files(*patterns):
    """The files that match any pattern ("src/**/*.c"), relative to the root, in a stable order."""
    found = {path.relative_to(ROOT) for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(found)


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def code_only(text):
    """C text with comments and the insides of literals blanked, and every line where it was."""
    def blank(match):
        literal = match.group(0)
        newlines = "\n" * literal.count("\n")
        return literal[0] * 2 + newlines if literal[0] in "\"'" else " " + newlines
    return _COMMENT_OR_STRING.sub(blank, text)


def includes(text):
    """(line number, "<" or '"', what) of every #include."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^">]+)[">]', line)
        if match:
            yield number, match.group(1), match.group(2)


def project_files():
    """Every text file that belongs to the project: what git knows, or, in an unpacked archive, what its folders hold."""
    try:
        listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                check=True, capture_output=True).stdout.decode().split("\0")
        paths = [pathlib.Path(name) for name in listed if name and (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        folders = ("include", "src", "cl", "tests", "tools", "cmake", "docs", ".ci")
        paths = [path for folder in folders for path in files(folder + "/**/*")] + files("*")
    return sorted(paths)


def finish(problems, checked):
    """Prints the problems and exits; finding nothing to check is one."""
    if not checked:
        problems = ["nothing was found to check under %s" % ROOT]
    for problem in problems:
        print(problem)
    print("%d checked, %d problems" % (checked, len(problems)))
    sys.exit(1 if problems else 0)

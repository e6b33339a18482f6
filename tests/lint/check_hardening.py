"""What was built has what PSGD_HARDENING asked of the compiler and the linker.

check_hardening.py READELF TRACE,... FILE...

TRACE: relro, now, noexecstack, pie (of programs), protector, fortify; cmake/psgd_hardening.cmake says what this build can have.
"""

import re
import subprocess
import sys

from source import finish


def readelf(tool, *arguments):
    return subprocess.run([tool, "--wide", *arguments], check=True, capture_output=True, text=True).stdout


def has_relro(headers, dynamic, symbols):
    return "GNU_RELRO" in headers


def has_now(headers, dynamic, symbols):
    return re.search(r"\(BIND_NOW\)|\(FLAGS\).*\bBIND_NOW\b|\(FLAGS_1\).*\bNOW\b", dynamic)


def has_noexecstack(headers, dynamic, symbols):
    stack = re.search(r"^\s*GNU_STACK\s+(?:0x\w+\s+){5}([RWE ]{3})", headers, re.MULTILINE)
    return stack and "E" not in stack.group(1)


def has_pie(headers, dynamic, symbols):
    return "Elf file type is DYN" in headers


def has_protector(headers, dynamic, symbols):
    return "__stack_chk_fail" in symbols


def has_fortify(headers, dynamic, symbols):
    """Not every library calls what is checked; a text of bounded length is made by nearly all."""
    return "_chk@" in symbols or not re.search(r"\bv?snprintf\b", symbols)


CHECKS = {"relro": has_relro, "now": has_now, "noexecstack": has_noexecstack, "pie": has_pie, "protector": has_protector,
          "fortify": has_fortify}

tool, traces, *paths = sys.argv[1:]
problems, checked = [], 0
for path in paths:
    texts = readelf(tool, "--program-headers", path), readelf(tool, "--dynamic", path), readelf(tool, "--dyn-syms", path)
    for trace in traces.split(","):
        checked += 1
        if not CHECKS[trace](*texts):
            problems.append("%s: no trace of '%s' (cmake/psgd_hardening.cmake)" % (path, trace))
finish(problems, checked)

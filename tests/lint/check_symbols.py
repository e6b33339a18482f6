"""The libraries give out what the public headers declare, and nothing else.

check_symbols.py NM LIST SHARED STATIC [SHARED_MPI STATIC_MPI]

LIST names the functions of each shared library ("libpsgd.so:" opens a part). The static libraries may hold more, but only
names that begin with psgd_.
"""

import re
import subprocess
import sys

from source import code_only, finish, read

HEADERS = {"libpsgd.so": "include/psgd/psgd.h", "libpsgd_mpi.so": "include/psgd/psgd_mpi.h"}


def defined_symbols(nm, library, *options):
    output = subprocess.run([nm, "--defined-only", "-P", *options, library], check=True, capture_output=True, text=True)
    rows = [line.split() for line in output.stdout.splitlines()]
    return {row[0].split("@")[0] for row in rows if len(row) >= 2}


def read_list(path):
    parts, current = {}, None
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].strip()
        if line.endswith(":"):
            current = parts.setdefault(line[:-1], set())
        elif line:
            current.add(line)
    return parts


def declared_functions(header):
    code = re.sub(r"^\s*#.*$", "", code_only(read(header)), flags=re.MULTILINE)
    return {match.group(1) for match in re.finditer(r"\bPSGD_API\b[^;(]*?\b(\w+)\s*\(", code)}


def compare(what, expected, found):
    return (["%s: missing: %s" % (what, name) for name in sorted(expected - found)] +
            ["%s: not in the list: %s" % (what, name) for name in sorted(found - expected)])


nm, list_path, *libraries = sys.argv[1:]
listed = read_list(list_path)
problems, checked = [], 0
for name, shared, static in zip(HEADERS, libraries[0::2], libraries[1::2]):
    problems += compare(HEADERS[name], listed[name], declared_functions(HEADERS[name]))
    problems += compare(shared, listed[name], defined_symbols(nm, shared, "-D"))
    symbols = defined_symbols(nm, static, "-g")
    problems += ["%s: %s does not begin with psgd_" % (static, symbol)
                 for symbol in sorted(symbols) if not symbol.startswith("psgd_")]
    checked += len(listed[name]) + len(symbols)
finish(problems, checked)

"""Every header compiles alone: with no other include before it, as C11, and the public ones as C++17 too.

check_headers.py C_COMPILER [-I directories and other options]
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys

from source import ROOT, files, finish

C_FLAGS = ["-x", "c", "-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
CXX_FLAGS = ["-x", "c++", "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
PATHS = [word for folder in ("include", "src", "tests", "tools/common", "tools/train") for word in ("-I", str(ROOT / folder))]


def compile_alone(job):
    compiler, flags, path = job
    text = '#include "%s"\n' % (ROOT / path)
    done = subprocess.run([compiler, *flags, *PATHS, "-"], input=text, text=True, capture_output=True)
    return "" if done.returncode == 0 else "%s does not compile alone with %s:\n%s" % (path, compiler, done.stderr)


compiler, options = sys.argv[1], sys.argv[2:]
cxx = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
public = files("include/psgd/*.h")
internal = files("src/**/*.h", "tests/**/*.h", "tools/**/*.h")
jobs = [(compiler, C_FLAGS + options, path) for path in public + internal]
if cxx:
    jobs += [(cxx, CXX_FLAGS + options, path) for path in public]
else:
    print("no C++ compiler: the public headers are checked as C alone")
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    problems = [problem for problem in pool.map(compile_alone, jobs) if problem]
finish(problems, len(jobs))

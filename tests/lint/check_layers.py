"""The layering of the library: who may include whom, and where OpenCL, CLBlast and MPI may be named."""

import re

from source import code_only, files, finish, includes, read

# A room may include itself and these rooms.
ROOMS = {
    "base": set(),
    "plan": {"base"},
    "device": {"base"},
    "ops": {"device", "plan", "base"},
    "comm": {"device", "base"},
    "core": {"ops", "comm", "plan", "device", "base"},
    "api": {"core", "ops", "comm", "plan", "device", "base"},
    "comm_mpi": set(),  # a library of its own: the public headers alone
}

# Where OpenCL may be named: in these rooms, and in these files of comm.
OPENCL_ROOMS = {"api", "device", "ops"}
OPENCL_COMM_FILES = re.compile(r"staging\w*\.[ch]")
OPENCL_NAME = re.compile(r"\b(?:cl_\w+|CL_[A-Z]\w*|cl[A-Z][a-z]\w*(?=\s*\())")
CLBLAST_NAME = re.compile(r"\bCLBlast\w+")
MPI_NAME = re.compile(r"\bMPI_\w+")

# These headers of room device name OpenCL or compile kernels: for some rooms alone.
OPENCL_HEADERS = {"device/cl_device.h": {"api", "device", "ops"}, "device/program.h": {"device", "ops"}}

# Made by the build, so in no room's folder; for these rooms.
GENERATED = {"kernel_table.h": {"device"}}

# step.c reads like the paper: it neither allocates, logs, times, nor knows what is below.
STEP = "src/core/step.c"
STEP_FORBIDDEN = [
    (re.compile(r"\b(?:malloc|calloc|realloc|free|aligned_alloc|psgd_alloc\w*|psgd_memory_\w+)\s*\("), "allocates"),
    (re.compile(r"\bpsgd_log\w*\s*\("), "logs"),
    (re.compile(r"\b(?:psgd_clock_\w+|clock_gettime|time)\s*\("), "reads the clock"),
    (re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif|else)\b", re.MULTILINE), "is compiled conditionally"),
]

problems = []


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def forbid(path, text, pattern, why):
    for match in pattern.finditer(text):
        problems.append("%s:%d: %s: %s" % (path, line_of(text, match.start()), match.group(0).strip(), why))


def check_room_includes(path, room, text):
    for number, bracket, what in includes(text):
        where = "%s:%d: " % (path, number)
        if bracket == "<":
            if what.startswith("psgd/psgd_mpi") and room != "comm_mpi":
                problems.append(where + "psgd_mpi.h is for room comm_mpi")
            continue
        target = what.split("/")[0]
        if room in GENERATED.get(what, ()):
            continue
        if "/" not in what or target not in ROOMS:
            problems.append(where + '"%s" is not of the form "room/file.h"' % what)
        elif target != room and target not in ROOMS[room]:
            problems.append(where + "room %s may not include room %s" % (room, target))
        elif room not in OPENCL_HEADERS.get(what, {room}):
            problems.append(where + "%s is not for room %s" % (what, room))


def check_foreign_headers(path, text, allowed):
    for number, _, what in includes(text):
        for header, permitted in allowed.items():
            if what == header and not permitted:
                problems.append("%s:%d: %s may not be included here" % (path, number, header))


def check_library():
    clblast_files = set()
    paths = files("src/**/*.c", "src/**/*.h")
    for path in paths:
        room = path.parts[1]
        text = read(path)
        code = code_only(text)
        if room not in ROOMS:
            problems.append("%s: '%s' is not a room of the library" % (path, room))
            continue
        check_room_includes(path, room, text)
        opencl = room in OPENCL_ROOMS or (room == "comm" and OPENCL_COMM_FILES.fullmatch(path.name))
        check_foreign_headers(path, text, {"CL/cl.h": opencl, "CL/opencl.h": opencl, "mpi.h": room == "comm_mpi"})
        if not opencl:
            forbid(path, code, OPENCL_NAME, "OpenCL is not named in room %s" % room)
        if room != "comm_mpi":
            forbid(path, code, MPI_NAME, "MPI is not named in room %s" % room)
        if CLBLAST_NAME.search(code) or any("clblast" in what for _, _, what in includes(text)):
            clblast_files.add(str(path))
    if len(clblast_files) > 1:
        problems.append("CLBlast is named in more than one file: %s" % ", ".join(sorted(clblast_files)))
    return len(paths)


def check_step():
    if not files(STEP):
        problems.append("%s is missing" % STEP)
        return
    code = code_only(read(STEP))
    for pattern, what in STEP_FORBIDDEN:
        forbid(STEP, code, pattern, "step.c " + what)


def check_public_headers():
    paths = files("include/psgd/*.h")
    for path in paths:
        is_mpi = path.name == "psgd_mpi.h"
        code = code_only(read(path))
        check_foreign_headers(path, read(path), {"mpi.h": is_mpi, "clblast_c.h": False})
        if not is_mpi:
            forbid(path, code, MPI_NAME, "MPI is named in psgd_mpi.h alone")
    return len(paths)


def check_outsiders():
    """Tools see the public headers alone; the tests' reference shares no code with the library."""
    tools = files("tools/**/*.c", "tools/**/*.h")
    reference = files("tests/reference/*.c", "tests/reference/*.h")
    for path in tools + reference:
        for number, bracket, what in includes(read(path)):
            if bracket == '"' and what.split("/")[0] in ROOMS:
                problems.append("%s:%d: may not include the library's %s" % (path, number, what))
    return len(tools) + len(reference)


count = check_library() + check_public_headers() + check_outsiders()
check_step()
finish(problems, count)

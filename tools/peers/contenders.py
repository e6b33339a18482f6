"""Who is compared: how each is started for some steps, and the milliseconds a step that come back.

A contender's run() returns a dictionary with step_ms (median, min, max), or raises Missing, with a sentence that says what to
install or build, or Failed, with one that says what went wrong."""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


class Missing(Exception):
    """Something is not installed."""


class Failed(Exception):
    """A run went wrong."""


def summary(times):
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def reason(text):
    """What a failed run says of itself on stderr: psgd-bench's own line, where mpiexec has added its own below it."""
    own = [line for line in text.splitlines() if line.startswith("psgd-bench: ")]
    return own[-1] if own else last_line(text)


def worker_environment():
    """One thread a worker, whoever it is."""
    environment = dict(os.environ)
    environment.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
                        "POCL_MAX_PTHREAD_COUNT": "1", "LP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # Containers often forbid process_vm_readv, which UCX would choose between processes of one machine.
    environment.setdefault("UCX_TLS", "sysv,self")
    return environment


def end(processes):
    """Asks first: mpiexec then ends the workers that it has started."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_together(commands, timeout):
    """Starts all, waits for all, and returns what the first printed. Where one fails, the others end too."""
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        processes = []
        try:
            for command in commands:
                processes.append(subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL if processes else out, stderr=err,
                    env=worker_environment()))
            while any(process.poll() is None for process in processes):
                if any(process.poll() for process in processes):
                    break
                if time.monotonic() > deadline:
                    raise Failed("no result after %d seconds" % timeout)
                time.sleep(0.02)
        except OSError as error:
            raise Failed("%s: %s" % (error.filename, error.strerror)) from error
        finally:
            end(processes)
        if any(process.returncode for process in processes):
            err.seek(0)
            raise Failed(reason(err.read()))
        out.seek(0)
        return out.read()


class Psgd:
    """psgd-bench, with one engine and one form of the step."""

    def __init__(self, args, engine, finite):
        self.args, self.engine, self.finite = args, engine, finite
        self.name = "psgd-%s%s" % (engine, "-finite" if finite else "")
        self.label = "libpsgd, %s%s" % (engine, ", finite" if finite else "")
        self.is_ours = True

    def command(self, job, result):
        return [self.args.mpiexec, "-n", str(job.workers), str(self.args.bench), "--model", str(job.shapes), "--rank",
                str(job.rank), "--steps", str(job.steps), "--engine", self.engine] + (
                    ["--finite"] if self.finite else []) + ["--json", str(result)]

    def check(self):
        if not os.access(self.args.bench, os.X_OK):
            raise Missing("There is no %s: build it (cmake --build --preset release), or name it by --bench"
                          % self.args.bench)

    def run(self, job):
        result = job.directory / "bench.json"
        result.unlink(missing_ok=True)
        run_together([self.command(job, result)], self.args.timeout)
        try:
            document = json.loads(result.read_text(encoding="utf-8"))
            return dict(document, step_ms={key: float(document["step_ms"][key]) for key in ("median", "min", "max")})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failed("its JSON has no step_ms with median, min and max") from error


class Torch:
    """PyTorch over gloo: its hook, the package of the paper's authors, or nothing but the all-reduce."""

    LABELS = {"hook": "PyTorch powerSGD_hook", "hook-batched": "PyTorch powerSGD_hook, batched",
              "epfml": "epfml powersgd, 2 half-iterations", "gloo": "gloo all-reduce, uncompressed"}

    def __init__(self, args, name):
        self.args, self.name, self.label = args, name, self.LABELS[name]
        self.is_ours = False

    def check(self):
        try:
            found = subprocess.run([self.args.python, "-c", "import torch.distributed as d; print(d.is_available())"],
                                   capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Missing("%s does not run: name a Python that has PyTorch by --python" % self.args.python) from error
        if found.stdout.strip() != "True":
            raise Missing("%s has no PyTorch with torch.distributed: apt-get install --no-install-recommends python3-torch "
                          "libopenblas0-pthread, or name another Python by --python" % self.args.python)
        if self.name == "epfml" and not (pathlib.Path(self.args.epfml or "") / "powersgd" / "__init__.py").is_file():
            raise Missing("There is no package powersgd in '%s': clone https://github.com/epfml/powersgd, and name the "
                          "directory by --epfml" % (self.args.epfml or ""))

    def run(self, job):
        store = job.directory / "store"
        store.unlink(missing_ok=True)
        command = [self.args.python, str(HERE / "torch_worker.py"), "--contender", self.name, "--model", str(job.shapes),
                   "--rank", str(job.rank), "--steps", str(job.steps), "--workers", str(job.workers), "--store",
                   str(store), "--epfml", str(self.args.epfml or "")]
        out = run_together([command + ["--worker", str(worker)] for worker in range(job.workers)], self.args.timeout)
        try:
            document = json.loads(last_line(out))
            return dict(document, step_ms=summary(document["step_ms"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Failed("its output is no JSON") from error

"""One worker of PyTorch's side of tools/compare-peers, which starts one for each worker. Worker 0 prints one line of JSON.

What is timed, step by step, is the way from "the gradients of the whole model are ready on every worker" to "their average
is", on a CPU over gloo; of the workers' times the longest counts."""

import argparse
import json
import re
import sys
import time

import torch
import torch.distributed as dist

import models

PLAIN_STEPS = 2    # start_powerSGD_iter: PyTorch wants more than 1, for DDP rebuilds its buckets in the first
WARM_UP_STEPS = 3  # compressed, behind these


class WholeModelBucket:
    """What powerSGD_hook asks of DDP's GradBucket, where one bucket holds the whole model."""

    def __init__(self, flat, grads):
        self._flat, self._grads = flat, grads

    def index(self):
        return 0

    def is_last(self):
        return True

    def buffer(self):
        return self._flat

    def gradients(self):
        return self._grads


class Gradients:
    """All tensors of one model, one behind the other in one flat tensor."""

    def __init__(self, shapes, worker):
        self.flat = torch.empty(models.num_parameters(shapes))
        self.parts, at = [], 0
        for _, dims in shapes:
            elems = torch.Size(dims).numel()
            self.parts.append(self.flat[at:at + elems].view(dims))
            at += elems
        self._fresh = torch.randn(self.flat.shape, generator=torch.Generator().manual_seed(worker))

    def refill(self):
        self.flat.copy_(self._fresh)

    def accumulate(self):
        self.flat.add_(self._fresh)


def hook_step(grads, args, batched):
    from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as hook

    state = hook.PowerSGDState(
        process_group=None, matrix_approximation_rank=args.rank, start_powerSGD_iter=PLAIN_STEPS,
        min_compression_rate=2, use_error_feedback=True, warm_start=True, batch_tensors_with_same_shape=batched)
    bucket = WholeModelBucket(grads.flat, grads.parts)
    return grads.refill, lambda: hook.powerSGD_hook(state, bucket).wait()


def epfml_step(grads, args):
    sys.path.insert(0, args.epfml)
    import powersgd

    aggregator = powersgd.PowerSGD(grads.parts, powersgd.Config(
        rank=args.rank, min_compression_rate=2, num_iters_per_step=2, start_compressing_after_num_steps=0))
    # It leaves the error in the gradients, and backward adds to them.
    return grads.accumulate, lambda: aggregator.aggregate(grads.parts)


def gloo_step(grads, args):
    def step():
        dist.all_reduce(grads.flat)
        grads.flat.div_(args.workers)

    return grads.refill, step


def make_step(grads, args):
    """What makes the gradients ready, and what averages them."""
    if args.contender == "epfml":
        return epfml_step(grads, args)
    if args.contender == "gloo":
        return gloo_step(grads, args)
    return hook_step(grads, args, args.contender == "hook-batched")


def blas_name():
    """The library that PyTorch multiplies matrices with, by its file: "openblas-pthread/libblas.so.3"."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        found = re.findall(r"(\S*/(?:libblas|libopenblas|libmkl_rt|libblis)\S*)", maps.read())
    return "/".join(found[0].split("/")[-2:]) if found else "built in"


def time_steps(prepare, step, count):
    """Milliseconds of each step, of the slowest worker."""
    times = torch.zeros(count, dtype=torch.float64)
    for i in range(count):
        prepare()
        dist.barrier()
        begin = time.perf_counter()
        step()
        times[i] = (time.perf_counter() - begin) * 1e3
    dist.all_reduce(times, op=dist.ReduceOp.MAX)
    return times.tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=("hook", "hook-batched", "epfml", "gloo"), required=True)
    parser.add_argument("--model", required=True, help="a file of shapes")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--worker", type=int, required=True)
    parser.add_argument("--store", required=True, help="the file by which the workers find each other")
    parser.add_argument("--epfml", help="directory of the package powersgd")
    args = parser.parse_args()

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method="file://" + args.store, world_size=args.workers, rank=args.worker)
    grads = Gradients(models.read_shapes(args.model), args.worker)
    grads.flat.zero_()
    with torch.no_grad():
        prepare, step = make_step(grads, args)
        time_steps(prepare, step, PLAIN_STEPS + WARM_UP_STEPS)
        times = time_steps(prepare, step, args.steps)
    if not torch.isfinite(grads.flat).all():
        sys.exit("%s ended with values that are not finite" % args.contender)
    if args.worker == 0:
        print(json.dumps({"step_ms": times, "torch": torch.__version__, "blas": blas_name()}), flush=True)
    dist.barrier()


if __name__ == "__main__":
    main()

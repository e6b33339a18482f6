"""Reads what psgd-train says of a run."""

import dataclasses
import statistics


class Unreadable(Exception):
    """A document is not what psgd-train writes; the sentence says what is missing."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run. Quality is 0 to 1 for accuracy, 1 and more for perplexity; curve is (step, quality, bytes so far) of each test."""
    quality: float
    steps: int
    steps_per_epoch: float
    bytes_per_step: float
    ms_per_step: float
    model_ms: float
    exchange_ms: float
    seconds: float
    params_hash: str
    curve: tuple

    @property
    def epoch_bytes(self):
        return self.bytes_per_step * self.steps_per_epoch


def is_run(value):
    return isinstance(value, dict) and "params_hash" in value


def only_run(document):
    """The document's one run, by whatever key."""
    runs = [value for value in document.values() if is_run(value)]
    if len(runs) != 1:
        raise Unreadable("%d runs where one is expected" % len(runs))
    return runs[0]


def read_curve(run, quality):
    return tuple((int(point["step"]), float(point[quality]), float(point["bytes_total"])) for point in run.get("curve") or ())


def read_run(document, quality):
    try:
        run = only_run(document)
        return Run(float(run[quality]), int(document["steps"]), float(document["steps_per_epoch"]), float(run["bytes_per_step"]),
                   float(run["ms_per_step"]), float(run["model_ms"]), float(run["exchange_ms"]), float(run["seconds"]),
                   str(run["params_hash"]), read_curve(run, quality))
    except KeyError as error:
        raise Unreadable("no %s" % error) from None
    except (AttributeError, TypeError, ValueError) as error:
        raise Unreadable("%s" % error) from None


# --- several seeds ----------------------------------------------------------------------------------------------------


def mean(values):
    return statistics.fmean(values)


def half_range(values):
    return (max(values) - min(values)) / 2


def mean_curve(runs):
    """(step, mean quality, mean bytes) at the steps at which all runs were tested."""
    curves = [{step: (quality, sent) for step, quality, sent in run.curve} for run in runs]
    steps = sorted(set.intersection(*map(set, curves))) if curves else []
    return [(step, mean([curve[step][0] for curve in curves]), mean([curve[step][1] for curve in curves])) for step in steps]


def steps_to(model, runs, target):
    """The first tested step at which the mean over the seeds has reached the target; None: it does not."""
    return next((step for step, quality, _ in mean_curve(runs) if model.reaches(quality, target)), None)

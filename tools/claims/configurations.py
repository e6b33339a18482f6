"""What is trained: the models, and for each claim of the paper the configurations that show it.

A configuration is a row of a table. It is trained with several seeds (quality), and timed for some steps on each link."""

import dataclasses

DELAY = 0.1  # of all steps: how many are plain where compression starts late
BASE = "rank2"  # what ablations and baselines are compared with


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    title: str
    quality: str         # the key of psgd-train's JSON
    bar: float           # how far rank 4 may be behind plain training: points of accuracy, or percent of perplexity
    most_epochs: float   # more than these are not trained, however large the budget
    own_rates: dict      # learning rates, by configuration, of compressors that do not learn with psgd-train's own
    needed: tuple        # groups and configurations without which the tables say nothing; the others as time allows

    @property
    def higher_is_better(self):
        return self.quality == "accuracy"

    def behind(self, value, reference):
        """How far a quality is behind another: points of accuracy, or percent of perplexity. Below 0: ahead."""
        if self.higher_is_better:
            return 100 * (reference - value)
        return 100 * (value / reference - 1)

    def reaches(self, value, target):
        """To within rounding: the mean of several runs reaches itself."""
        return value >= target - 1e-9 if self.higher_is_better else value <= target * (1 + 1e-9)

    def within_bar(self, target):
        """The quality that is behind `target` by the bar."""
        return target - self.bar / 100 if self.higher_is_better else target * (1 + self.bar / 100)


# Signum's updates are signs, whatever the size of the gradients: of 0.0001, 0.0003 and 0.001 the last was best after 250 steps of the
# convolutional network, of 0.0003, 0.001, 0.003 and 0.01 the third after 300 steps of the language model. What is unbiased has no error
# feedback and varies more; the paper's authors gave it an eighth of the learning rate (paper-code/hyperparameters.md of epfml/powersgd),
# which was as good as a quarter there and better than a half.
MODELS = {
    "cnn": Model("cnn", "Convolutional network on Fashion-MNIST", "accuracy", 0.5, 6, {"signum": 0.001, "unbiased": 0.01 / 8},
                 ("ranks", "ablations", "baselines", "workers")),
    # A step takes several times as long. Of language models the paper shows the ranks and Signum (tables 3 and 7).
    "lstm": Model("lstm", "LSTM language model", "perplexity", 2.0, 10, {"signum": 0.003, "unbiased": 6.0 / 8},
                  ("ranks", "signum")),
}


@dataclasses.dataclass(frozen=True)
class Configuration:
    name: str
    label: str
    group: str                # ranks, ablations, baselines, workers
    options: tuple            # of psgd-train
    workers: int = 2
    timed_as: str = ""        # whose step takes as long; empty: it is timed itself
    late: bool = False        # the first DELAY of all steps are plain


def rank_options(rank, *more):
    """Of the library. The engine is named so that all runs have the same one, and the same bits."""
    return ("--engine", "fused", "--rank", str(rank), *more)


def compressor(name, label, group, **more):
    return Configuration(name, label, group, ("--rank", "2", "--compressor", name), **more)


PLAIN = Configuration("plain", "plain averaging", "ranks", rank_options(0))
RANKS = (PLAIN,) + tuple(Configuration("rank%d" % rank, "PowerSGD, rank %d" % rank, "ranks", rank_options(rank))
                         for rank in (1, 2, 4, 8))
ABLATIONS = (
    Configuration("no-error-feedback", "without error feedback", "ablations", rank_options(2, "--error-feedback", "0"),
                  timed_as=BASE),
    Configuration("no-warm-start", "without warm start", "ablations", rank_options(2, "--warm-start", "0"), timed_as=BASE),
    Configuration("delayed", "compressed from a tenth of the steps on", "ablations", rank_options(2), timed_as=BASE, late=True),
    compressor("svd", "best approximation, by SVD", "ablations"),
    compressor("unbiased", "unbiased, random factors", "ablations"),
)
BASELINES = (
    compressor("random-block", "random block", "baselines"),
    compressor("random-k", "random k", "baselines"),
    compressor("sign-norm", "sign and norm", "baselines"),
    compressor("top-k", "top k", "baselines"),
    compressor("signum", "Signum", "baselines"),
    compressor("atomo", "Spectral Atomo", "baselines"),
)
FOUR_WORKERS = (
    Configuration("plain-4-workers", "plain averaging, 4 workers", "workers", rank_options(0), workers=4, timed_as="plain"),
    Configuration("rank4-4-workers", "PowerSGD, rank 4, 4 workers", "workers", rank_options(4), workers=4, timed_as="rank4"),
)
ALL = RANKS + ABLATIONS + BASELINES + FOUR_WORKERS
BY_NAME = {one.name: one for one in ALL}


def chosen(smoke):
    """All of them, or the few that show within a minute that everything runs."""
    return tuple(BY_NAME[name] for name in ("plain", "rank1", "rank4")) if smoke else ALL


def is_needed(model, configuration):
    return configuration.group in model.needed or configuration.name in model.needed

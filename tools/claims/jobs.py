"""The single runs, how each is called, and what is planned for all of them."""

import dataclasses

import configurations
import launch

QUALITY, TIMING, TESTING = "quality", "timing", "testing"
TIMED_STEPS, SMOKE_STEPS = 50, 6
TESTS_WHEN_TIMED = 5     # in the run that shows how long a test takes
FIRST_SEED = 1           # what is timed is trained with it


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long is trained: chosen once, and kept beside the results."""
    model: str
    seeds: tuple
    budget_minutes: float
    fixed_epochs: float      # asked for; 0: chosen by the budget
    options: tuple           # of psgd-train, for all runs
    smoke: bool
    version: str             # of psgd-train
    tests_along_the_way: bool
    steps: int = 0           # of two workers; 0: not chosen yet
    tests: int = 0           # along a run that is trained
    steps_per_epoch: float = 0.0

    @property
    def epochs(self):
        return self.steps / self.steps_per_epoch

    @property
    def timed_steps(self):
        return SMOKE_STEPS if self.smoke else TIMED_STEPS

    def question(self):
        """Without the answer."""
        return dataclasses.replace(self, steps=0, tests=0, steps_per_epoch=0.0)

    def to_document(self):
        return dataclasses.asdict(self)

    @staticmethod
    def from_document(document):
        """None where the document is no plan of this version of the tool."""
        names = {field.name for field in dataclasses.fields(Plan)}
        try:
            plan = Plan(**{key: value for key, value in document.items() if key in names})
            return dataclasses.replace(plan, seeds=tuple(plan.seeds), options=tuple(plan.options))
        except (AttributeError, TypeError):
            return None


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of psgd-train."""
    name: str                # of its file
    kind: str
    configuration: configurations.Configuration
    seed: int
    link: str
    steps: int
    arguments: tuple         # of psgd-train, apart from where its JSON goes

    @property
    def title(self):
        where = {QUALITY: "seed %d" % self.seed, TESTING: "with tests"}.get(self.kind, LINK_NAMES[self.link])
        return "%s, %s" % (self.configuration.label, where)

    def is_done_by(self, record, version):
        """Whether a stored record is this run's."""
        return (isinstance(record, dict) and record.get("arguments") == list(self.arguments) and record.get("link") == self.link
                and record.get("workers") == self.configuration.workers and record.get("version") == version)


LINK_NAMES = {launch.MEMORY: "shared memory", "1gbit": "1 Gbit/s", "100mbit": "100 Mbit/s"}


def arguments(plan, configuration, seed, steps, test_every):
    words = ["--model", plan.model, "--seed", str(seed), "--steps", str(steps), *configuration.options]
    rate = configurations.MODELS[plan.model].own_rates.get(configuration.name)
    if rate:
        words += ["--compressor-lr", "%g" % rate]
    if configuration.late:
        words += ["--start-step", str(max(1, round(configurations.DELAY * steps)))]
    if test_every:
        words += ["--test-every", str(test_every)]
    return (*words, *plan.options)


def quality_job(plan, configuration, seed):
    # As many epochs, whatever the number of workers: each takes as many samples a step.
    steps = max(1, round(plan.steps * 2 / configuration.workers))
    test_every = max(1, steps // plan.tests) if plan.tests else 0
    return Job("%s-%s-seed%d" % (plan.model, configuration.name, seed), QUALITY, configuration, seed, launch.MEMORY, steps,
               arguments(plan, configuration, seed, steps, test_every))


def timing_job(plan, configuration, link):
    return Job("%s-%s-%s" % (plan.model, configuration.name, link), TIMING, configuration, FIRST_SEED, link, plan.timed_steps,
               arguments(plan, configuration, FIRST_SEED, plan.timed_steps, 0))


def testing_job(plan):
    """The plain run once more, with tests along the way: what it takes longer is what these take."""
    test_every = max(1, plan.timed_steps // TESTS_WHEN_TIMED)
    return Job("%s-plain-testing" % plan.model, TESTING, configurations.PLAIN, FIRST_SEED, launch.MEMORY, plan.timed_steps,
               arguments(plan, configurations.PLAIN, FIRST_SEED, plan.timed_steps, test_every))


def links(plan):
    return [launch.MEMORY] if plan.smoke else list(launch.LINKS)


def split(plan):
    """The configurations that are needed, and the others."""
    model, chosen = configurations.MODELS[plan.model], configurations.chosen(plan.smoke)
    needed = [one for one in chosen if configurations.is_needed(model, one)]
    return needed, [one for one in chosen if one not in needed]


def needed_quality_jobs(plan):
    """Ranks with all seeds, everything else that is needed with the first."""
    needed, _ = split(plan)
    ranks = [quality_job(plan, one, seed) for seed in plan.seeds for one in needed if one.group == "ranks"]
    return ranks + [quality_job(plan, one, plan.seeds[0]) for one in needed if one.group != "ranks"]


def further_quality_jobs(plan):
    """As time allows: what is not needed, and the other seeds of ablations and baselines, a seed after the other."""
    needed, others = split(plan)
    several = [one for one in needed + others if one.group in ("ablations", "baselines")]
    return ([quality_job(plan, one, plan.seeds[0]) for one in others]
            + [quality_job(plan, one, seed) for seed in plan.seeds[1:] for one in several])


def timing_jobs(plan, link):
    return [timing_job(plan, one, link) for one in split(plan)[0] if not one.timed_as]

"""How many steps fit into the time that is there, from what was measured through shared memory."""

import dataclasses

import configurations
import jobs
import launch

RESERVE = 0.93           # of the budget: what is planned for
LINK_SECONDS = 6         # that two-hosts takes around a run
LEAST_STEPS = 100
LEAST_TESTS, MOST_TESTS = 3, 12  # along a run; a curve of fewer shows little
TESTING = 0.2            # of a run's time, at most, for tests along the way
QUARTER = 0.25           # epochs are chosen in quarters


@dataclasses.dataclass(frozen=True)
class Timing:
    """What a short run took. start_seconds: all but its steps, one test included."""
    ms_per_step: float
    start_seconds: float
    bytes_per_step: float


class Costs:
    """Estimates, in seconds. timings: by name of what was timed through shared memory; None: it failed. What was not timed is taken
    for as fast as rank 2."""

    def __init__(self, timings, test_seconds):
        self.timings, self.test_seconds = timings, test_seconds

    def timing(self, configuration):
        return self.timings.get(configuration.timed_as or configuration.name, self.timings.get(configurations.BASE))

    def known(self, job):
        return self.timing(job.configuration) is not None

    def per_step(self, configuration):
        """More workers than cores take turns."""
        return self.timing(configuration).ms_per_step / 1e3 * configuration.workers / 2

    def fixed(self, job, tests):
        """Of a run: starting, and testing along the way; each worker tests its part of the samples."""
        return self.timing(job.configuration).start_seconds * job.configuration.workers / 2 + tests * self.test_seconds

    def quality(self, job, tests):
        return self.fixed(job, tests) + job.steps * self.per_step(job.configuration)

    def over_link(self, job):
        """Each worker's bytes pass its link at least once each way."""
        timing = self.timing(job.configuration)
        wire = timing.bytes_per_step * 8 / launch.RATES[job.link]
        return LINK_SECONDS + timing.start_seconds + job.steps * (timing.ms_per_step / 1e3 + wire)


def tests_that_fit(costs, seconds, count):
    """How many tests each of so many runs may make along its way."""
    return max(LEAST_TESTS, min(MOST_TESTS, int(TESTING * seconds / count / max(costs.test_seconds, 1e-9))))


def steps_that_fit(costs, needed, tests, seconds, steps_per_epoch, most_epochs):
    """Steps of two workers, so that all of `needed` takes no more than so many seconds; whole quarters of epochs where one fits."""
    fixed = sum(costs.fixed(job, tests) for job in needed)
    # Twice the workers make half the steps.
    a_step = sum(costs.per_step(job.configuration) * 2 / job.configuration.workers for job in needed)
    steps = (seconds * RESERVE - fixed) / a_step
    epochs = min(most_epochs, steps // (QUARTER * steps_per_epoch) * QUARTER)
    return max(LEAST_STEPS, round(epochs * steps_per_epoch) if epochs >= QUARTER else int(steps))


def choose(plan, costs, seconds, steps_per_epoch):
    """The plan with its steps and tests."""
    needed = [job for job in jobs.needed_quality_jobs(dataclasses.replace(plan, steps=LEAST_STEPS)) if costs.known(job)]
    tests = tests_that_fit(costs, seconds, len(needed)) if plan.tests_along_the_way else 0
    if plan.smoke:
        steps, tests = jobs.SMOKE_STEPS, min(tests, 2)
    elif plan.fixed_epochs:
        steps = max(1, round(plan.fixed_epochs * steps_per_epoch))
    else:
        steps = steps_that_fit(costs, needed, tests, seconds, steps_per_epoch, configurations.MODELS[plan.model].most_epochs)
    return dataclasses.replace(plan, steps=steps, tests=tests, steps_per_epoch=steps_per_epoch)

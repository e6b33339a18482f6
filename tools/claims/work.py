"""Does the runs, one after another: those whose results are there are skipped, and what was chosen is kept with them."""

import dataclasses
import os
import platform
import re
import sys
import time

import budget
import configurations
import jobs
import launch
import results
import store as stores


PATIENCE = 900  # seconds: drivers compile kernels in the first run


def say(sentence):
    print("evidence: " + sentence, file=sys.stderr, flush=True)


def minutes(seconds):
    return "%.1f minutes" % (seconds / 60) if seconds >= 90 else "%.0f s" % seconds


def machine():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            processor = re.search(r"model name\s*:\s*(.+)", file.read()).group(1)
    except (OSError, AttributeError):
        processor = platform.machine()
    return {"processor": processor, "cores": os.cpu_count()}


def without_compiling(timings):
    """Whatever is trained, starting takes as long where nothing is left to compile: as in the run that had least to compile."""
    least = min(timing.start_seconds for timing in timings.values() if timing)
    return {name: timing and dataclasses.replace(timing, start_seconds=least) for name, timing in timings.items()}


class Work:
    def __init__(self, store, trainer, plan):
        self.store, self.trainer, self.model = store, trainer, configurations.MODELS[plan.model]
        self.plan = self.continued(plan)
        self.failures, self.spent, self.done, self.planned = [], 0.0, 0, 0

    def continued(self, plan):
        """The plan that is stored, where it answers the same question."""
        stored = jobs.Plan.from_document(self.store.read(self.plan_name(plan)) or {})
        if stored is None:
            return plan
        if stored.question() != plan.question():
            say("the results there were planned for other options or another psgd-train: steps are chosen anew")
            return plan
        return stored

    @staticmethod
    def plan_name(plan):
        return "%s-%s" % (plan.model, stores.PLAN)

    # --- one run ---

    def do(self, job, seconds):
        """The run's record, stored now or before; None where it failed. `seconds`: what it may take, about."""
        self.done += 1
        record = self.store.read(job.name)
        if not job.is_done_by(record, self.plan.version):
            record = self.train(job, seconds)
        else:
            say("%s: there already" % self.heading(job))
        if record is not None:
            self.spent += record["wall_seconds"]
        return record

    def heading(self, job):
        return "[%d of %d] %s, %s" % (self.done, self.planned, self.plan.model, job.title)

    def train(self, job, seconds):
        say("%s: %d steps%s" % (self.heading(job), job.steps, ", about " + minutes(seconds) if seconds else ""))
        record = {"name": job.name, "kind": job.kind, "configuration": job.configuration.name, "seed": job.seed,
                  "link": job.link, "workers": job.configuration.workers, "arguments": list(job.arguments),
                  "version": self.trainer.version, "build": self.trainer.build, "machine": machine(),
                  "result": None, "diverged": None}
        start = time.monotonic()
        try:
            record["result"] = self.trainer.results(job.link, job.configuration.workers, job.arguments, PATIENCE + 6 * seconds)
            run = results.read_run(record["result"], self.model.quality)
            said = "%s %.4g, %.1f ms a step, parameters %s" % (self.model.quality, run.quality, run.ms_per_step, run.params_hash)
        except launch.Diverged as diverged:
            record["diverged"] = said = str(diverged)
        except (launch.Failed, results.Unreadable) as failure:
            self.failures.append("%s: %s" % (job.title, failure))
            say(self.failures[-1])
            return None
        record["wall_seconds"] = time.monotonic() - start
        self.store.write(job.name, record)
        say("  %s (%s)" % (said, minutes(record["wall_seconds"])))
        return record

    def expect(self, several):
        self.done, self.planned = 0, len(several)

    # --- the parts ---

    def measure(self):
        """Times all through shared memory; what estimates need."""
        several = jobs.timing_jobs(self.plan, launch.MEMORY)
        tested = [jobs.testing_job(self.plan)] if self.plan.tests_along_the_way else []
        if not tested:
            say("this psgd-train cannot test along the way (--test-every): there will be no curves, and no times to a quality")
        self.expect(several + tested)
        runs = {job.configuration.name: self.do(job, 0) for job in several}
        timings = {name: self.timing(record) if record and record["result"] else None for name, record in runs.items()}
        if timings["plain"] is None:
            raise launch.Failed("plain averaging could not be timed: " + "; ".join(self.failures or ["it diverged"]))
        timings = without_compiling(timings)
        record = self.do(tested[0], 0) if tested else None
        test_seconds = 0.0
        if record and record["result"]:
            more = self.timing(record).start_seconds - timings["plain"].start_seconds
            test_seconds = max(0.0, more / (jobs.TESTS_WHEN_TIMED - 1))
        steps_per_epoch = results.read_run(runs["plain"]["result"], self.model.quality).steps_per_epoch
        return budget.Costs(timings, test_seconds), steps_per_epoch

    def timing(self, record):
        run = results.read_run(record["result"], self.model.quality)
        return budget.Timing(run.ms_per_step, max(0.0, record["wall_seconds"] - run.seconds), run.bytes_per_step)

    def usable_links(self):
        others = [link for link in jobs.links(self.plan) if link != launch.MEMORY]
        missing = launch.why_no_links(self.trainer.mpiexec) if others else None
        if missing:
            say("links of %s are left out: %s" % (" and ".join(jobs.LINK_NAMES[link] for link in others), missing))
        return [] if missing else others

    def choose(self, costs, steps_per_epoch, over_links):
        """Says how long is trained, and keeps it."""
        if not self.plan.steps:
            seconds = 60 * self.plan.budget_minutes - self.spent - sum(costs.over_link(job) for job in over_links)
            self.plan = budget.choose(self.plan, costs, seconds, steps_per_epoch)
            self.store.write(self.plan_name(self.plan), self.plan.to_document())
        needed = [job for job in jobs.needed_quality_jobs(self.plan) if costs.known(job)]
        seconds = sum(costs.quality(job, self.plan.tests) for job in needed) + sum(costs.over_link(job) for job in over_links)
        say("%d steps of two workers (%.2f epochs) and %d tests for each of %d runs: with the links about %s, of %g that may be used" % (
            self.plan.steps, self.plan.epochs, max(1, self.plan.tests), len(needed), minutes(seconds), self.plan.budget_minutes))
        if self.spent + seconds > 60 * self.plan.budget_minutes and not self.plan.smoke:
            say("that is more than the budget: give more --budget-minutes or fewer --seeds")
        return needed

    def further(self, costs, reserved):
        """More seeds, as long as there is time. What was done before is taken whatever time is left."""
        several = [job for job in jobs.further_quality_jobs(self.plan) if costs.known(job)]
        self.expect(several)
        for job in several:
            seconds = costs.quality(job, self.plan.tests)
            there = job.is_done_by(self.store.read(job.name), self.plan.version)
            if not there and self.spent + reserved + seconds > 60 * self.plan.budget_minutes:
                say("no time for further seeds: %s of %g minutes are used" % (minutes(self.spent), self.plan.budget_minutes))
                return
            self.do(job, seconds)

    def run(self, only):
        """All of it, or `quality` or `links` alone. The sentences of what failed."""
        costs, steps_per_epoch = self.measure()
        over_links = [job for link in self.usable_links() for job in jobs.timing_jobs(self.plan, link) if costs.known(job)]
        needed = self.choose(costs, steps_per_epoch, over_links)
        if only != "quality":
            self.expect(over_links)
            for job in over_links:
                self.do(job, costs.over_link(job))
        if only != "links":
            self.expect(needed)
            for job in needed:
                self.do(job, costs.quality(job, self.plan.tests))
            self.further(costs, sum(costs.over_link(job) for job in over_links) if only == "quality" else 0)
        return self.failures

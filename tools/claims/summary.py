"""Puts the stored runs together: by configuration, seed and link; and what follows from them."""

import configurations
import jobs
import launch
import results


class Summary:
    """runs: by configuration and seed; timings: by configuration and link; diverged: by configuration, the sentence."""

    def __init__(self, plan, records):
        self.plan, self.model = plan, configurations.MODELS[plan.model]
        self.runs, self.timings, self.diverged, self.builds, self.machines, self.seconds = {}, {}, {}, set(), set(), 0.0
        self.bigram = None
        for job, record in records:
            self.add(job, record)

    def add(self, job, record):
        name = job.configuration.name
        self.builds.add(record["build"])
        self.machines.add((record["machine"]["processor"], record["machine"]["cores"], (record["result"] or {}).get("device")))
        self.seconds += record["wall_seconds"]
        if record["diverged"]:
            self.diverged.setdefault(name, record["diverged"])
            return
        run = results.read_run(record["result"], self.model.quality)
        self.bigram = record["result"].get("bigram_perplexity") or self.bigram
        if job.kind == jobs.QUALITY:
            self.runs.setdefault(name, {})[job.seed] = run
        elif job.kind == jobs.TIMING:
            self.timings.setdefault(name, {})[job.link] = run

    def rows(self, *groups):
        """The configurations of these groups of which anything is known."""
        chosen = configurations.chosen(self.plan.smoke)
        return [one for one in chosen if one.group in groups
                and (one.name in self.runs or one.name in self.timings or one.name in self.diverged)]

    def seeds(self, configuration):
        return sorted(self.runs.get(configuration.name, ()))

    def of_seeds(self, configuration, seeds=None):
        runs = self.runs.get(configuration.name, {})
        return [runs[seed] for seed in sorted(runs) if seeds is None or seed in seeds]

    def quality(self, configuration):
        """Mean and half the range over the seeds; None where it was not trained."""
        values = [run.quality for run in self.of_seeds(configuration)]
        return (results.mean(values), results.half_range(values)) if values else None

    def behind(self, configuration, reference):
        """How far behind another, on average over the seeds that both were trained with; None where there are none."""
        shared = set(self.seeds(configuration)) & set(self.seeds(reference))
        if not shared:
            return None
        mean_of = [results.mean([run.quality for run in self.of_seeds(one, shared)]) for one in (configuration, reference)]
        return self.model.behind(*mean_of)

    def one_run(self, configuration):
        """Any run: what is the same for all seeds is read from it."""
        runs = self.of_seeds(configuration) or list(self.timings.get(configuration.name, {}).values())
        return runs[0] if runs else None

    def links(self):
        return [link for link in launch.LINKS if any(link in of for of in self.timings.values())]

    def timing(self, configuration, link):
        return self.timings.get(configuration.timed_as or configuration.name, {}).get(link)

    def target(self, within_bar):
        """The plain run's final quality, mean over the seeds, or what is behind it by the bar; None without plain runs."""
        plain = self.quality(configurations.PLAIN)
        if plain is None:
            return None
        return self.model.within_bar(plain[0]) if within_bar else plain[0]

    def steps_to(self, configuration, target):
        return results.steps_to(self.model, self.of_seeds(configuration), target)

    def seconds_to(self, configuration, target, link):
        steps, timing = self.steps_to(configuration, target), self.timing(configuration, link)
        return None if steps is None or timing is None else steps * timing.ms_per_step / 1e3

    def hashes(self):
        """Names of configurations timed on several links: those with one parameter hash, and those with more."""
        several = {name: {run.params_hash for run in of.values()} for name, of in self.timings.items() if len(of) > 1}
        return ([name for name, found in several.items() if len(found) == 1],
                [name for name, found in several.items() if len(found) > 1])


def read(store, model_name):
    """The summary of what is stored for a model; None where nothing is planned there."""
    plan = jobs.Plan.from_document(store.read("%s-plan" % model_name) or {})
    if plan is None or not plan.steps:
        return None
    several = [job for link in jobs.links(plan) for job in jobs.timing_jobs(plan, link)]
    several += jobs.needed_quality_jobs(plan) + jobs.further_quality_jobs(plan)
    found = [(job, store.read(job.name)) for job in several]
    return Summary(plan, [(job, record) for job, record in found if job.is_done_by(record, plan.version)])

"""The tables, in Markdown, and the sentences that say what they show. What was not run is not in them."""

import configurations
import jobs
from configurations import BASE, BY_NAME, PLAIN

NOTHING = "–"


def table(head, rows):
    lines = ["| %s |" % " | ".join(head), "|%s" % ("---|" * len(head))]
    return "\n".join(lines + ["| %s |" % " | ".join(row) for row in rows])


def quality_words(model, value, spread, count):
    scale, form = (100, "%.2f") if model.higher_is_better else (1, "%.1f")
    words = form % (scale * value)
    words += " ± " + form % (scale * spread) if count > 1 else ""
    return words + (" %" if model.higher_is_better else "")


def quality_head(model):
    return "test accuracy" if model.higher_is_better else "test perplexity"


def behind_words(model, behind):
    """A difference of qualities in words: points of accuracy, percent of perplexity."""
    if behind is None:
        return NOTHING
    return "%+.2f points" % -behind if model.higher_is_better else "%+.1f %%" % behind


def quality_cell(summary, one):
    quality = summary.quality(one)
    if quality is None:
        return "diverged" if one.name in summary.diverged else NOTHING
    diverged = ", diverged with another seed" if one.name in summary.diverged else ""
    return quality_words(summary.model, *quality, len(summary.seeds(one))) + diverged


def three_digits(value):
    """At least, and never in powers of ten: 2.34, 23.4, 234, 2340."""
    return "%.3g" % value if value < 1000 else "%.0f" % value


def bytes_cell(summary, one):
    run, plain = summary.one_run(one), summary.one_run(PLAIN)
    if run is None:
        return NOTHING
    times = " (1/%.0f)" % (plain.epoch_bytes / run.epoch_bytes) if plain and one != PLAIN else ""
    return "%s MB%s" % (three_digits(run.epoch_bytes / 1e6), times)


def time_cell(summary, one, link):
    run, plain = summary.timing(one, link), summary.timing(PLAIN, link)
    if run is None:
        return NOTHING
    change = " (%+.0f %%)" % (100 * (run.ms_per_step / plain.ms_per_step - 1)) if plain and one != PLAIN else ""
    return "%.1f%s" % (run.ms_per_step, change)


def link_heads(summary, words):
    return ["%s, %s" % (words, jobs.LINK_NAMES[link]) if words else jobs.LINK_NAMES[link] for link in summary.links()]


def seeds_words(summary, rows):
    """Of how many seeds the rows are; empty where none was trained."""
    counts = sorted({len(summary.seeds(one)) for one in rows if summary.seeds(one)})
    if not counts:
        return ""
    return " to ".join("%d" % count for count in counts[:1] + counts[1:][-1:]) + (" seed" if counts == [1] else " seeds")


# --- tables -----------------------------------------------------------------------------------------------------------


def comparison(summary, rows):
    """Quality, bytes and times: the paper's table 3, and its tables 4, 6 and 7 for other compressors."""
    cells = [[one.label, quality_cell(summary, one), bytes_cell(summary, one),
              *[time_cell(summary, one, link) for link in summary.links()]] for one in rows]
    return table(["", quality_head(summary.model), "sent an epoch", *link_heads(summary, "ms a batch")], cells)


def time_to_quality(summary, rows):
    def seconds(one, link):
        cells = []
        for within_bar in (False, True):
            value = summary.seconds_to(one, summary.target(within_bar), link)
            cells.append(NOTHING if value is None else three_digits(value) + " s")
        return " / ".join(cells)

    def steps(one):
        found = [summary.steps_to(one, summary.target(within_bar)) for within_bar in (False, True)]
        return " / ".join(NOTHING if step is None else "%d" % step for step in found)

    cells = [[one.label, steps(one), *[seconds(one, link) for link in summary.links()]] for one in rows]
    return table(["", "steps", *link_heads(summary, "")], cells)


def breakdown(summary, rows):
    """Where a batch's time goes: the paper's table 5."""
    def cell(one, link):
        run = summary.timing(one, link)
        return NOTHING if run is None else "%.1f + %.1f" % (run.model_ms, run.exchange_ms)

    cells = [[one.label, *[cell(one, link) for link in summary.links()]] for one in rows]
    return table(["", *link_heads(summary, "model + exchange, ms")], cells)


def against(summary, rows, reference):
    """Quality alone, and how far from a reference."""
    cells = [[one.label, quality_cell(summary, one),
              "" if one == reference else behind_words(summary.model, summary.behind(one, reference))] for one in rows]
    return table(["", quality_head(summary.model), "against " + reference.label], cells)


# --- sentences --------------------------------------------------------------------------------------------------------


def verdict(summary, rank=BY_NAME["rank4"], plain=PLAIN):
    model, behind = summary.model, summary.behind(rank, plain)
    if behind is None:
        return "Rank 4 and plain averaging were not both trained: there is no verdict."
    unit, bar = ("points of accuracy", "0.5 points") if model.higher_is_better else ("% of perplexity", "2 %")
    side = "behind" if behind >= 0 else "ahead of"
    words = "%.2f %s" % (abs(behind), unit) if model.higher_is_better else "%.1f %s" % (abs(behind), unit)
    count = len(set(summary.seeds(rank)) & set(summary.seeds(plain)))
    met = "**met**" if round(behind, 6) <= model.bar else "**not met**"
    return "Rank 4 is %s %s plain averaging, on average over %d seed%s (bar: %s): %s." % (
        words, side, count, "s" * (count > 1), bar, met)


def same_bits(summary):
    same, different = summary.hashes()
    if different:
        return "**The links do not agree**: after %d steps the parameters differ with %s." % (
            summary.plan.timed_steps, ", ".join(BY_NAME[name].label for name in different))
    if not same:
        return ""
    return ("After %d steps the parameters are the same to the bit on all links, with each of the %d configurations that were timed: "
            "what is learnt does not depend on the link, so that it is trained once." % (summary.plan.timed_steps, len(same)))


def provenance(summary):
    plan = summary.plan
    machines = "; ".join("%s, %s cores%s" % (processor, cores, ", " + device if device else "")
                         for processor, cores, device in sorted(summary.machines, key=str))
    sentences = ["%s: two workers, %d steps (%.2f epochs), seeds %s; %s." % (
        summary.model.title, plan.steps, plan.epochs, ", ".join(map(str, plan.seeds)), plan.version)]
    if plan.options:
        sentences.append("With `%s`." % " ".join(plan.options))
    sentences.append("On %s; %.1f minutes in all." % (machines, summary.seconds / 60))
    if len(summary.builds) > 1:
        sentences.append("**The results come from %d builds** of that version." % len(summary.builds))
    if summary.bigram:
        sentences.append("A bigram model has a perplexity of %.1f." % summary.bigram)
    return " ".join(sentences)


# --- the whole --------------------------------------------------------------------------------------------------------


def section(heading, *parts):
    return "\n\n".join(["#### " + heading, *[part for part in parts if part]])


def ranks_note(summary, ranks):
    seeds = seeds_words(summary, ranks)
    mean = "Mean over %s, ± half the distance between the best and the worst. " % seeds if seeds else ""
    return mean + "Bytes as each worker hands them to the network; 1 MB is 10^6."


def seeds_note(summary, rows, words):
    seeds = seeds_words(summary, rows)
    return "%s%s." % (seeds, words) if seeds else ""


def write(summary):
    """Everything that is known of one model."""
    model, ranks, base = summary.model, summary.rows("ranks"), BY_NAME[BASE]
    ablations, baselines, four = summary.rows("ablations"), summary.rows("baselines"), summary.rows("workers")
    parts = [provenance(summary), verdict(summary), same_bits(summary)]
    if ranks:
        parts.append(section("Ranks", comparison(summary, ranks), ranks_note(summary, ranks)))
    if any(run.curve for run in summary.of_seeds(PLAIN)):
        parts.append(section("Time to the plain run's final quality", time_to_quality(summary, ranks),
                             "To it / to %s less; %s: not reached." % ("0.5 points" if model.higher_is_better else "2 %", NOTHING)))
    if ranks and summary.links():
        parts.append(section("Where a batch's time goes", breakdown(summary, ranks)))
    if ablations and base.name in summary.runs:
        parts.append(section("What rank 2 is without", against(summary, [base, *ablations], base),
                             seeds_note(summary, ablations, "; differences over the seeds that both rows have")))
    if baselines:
        rows = [one for one in (PLAIN, base) if one in ranks] + baselines
        parts.append(section("Other compressors", comparison(summary, rows),
                             seeds_note(summary, baselines, " of the others, which send as many bytes as rank 2 where they can choose")))
    if four:
        parts.append(section("Four workers", against(summary, four, BY_NAME["plain-4-workers"])))
    return "\n\n".join(part for part in parts if part) + "\n"

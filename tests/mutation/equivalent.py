"""Mutants that make no difference to what tests can see, each with the reason. They are named by the line that they change, so that what
is said here cannot outlive the line: mutate.py ends where there is no such mutant."""

import collections

# path; the line as it is; what the mutant makes of it, or None: whatever it does to that line; why that makes no difference
Entry = collections.namedtuple("Entry", "path line after reason")

AHEAD = "how far ahead memory is asked for: a hint, which need not belong to anything"
NO_ROWS = "one block more, of no rows, which reads and writes nothing: its sums are 0"
DEFAULT = "so that the file compiles alone: the library always says what it wants"

EQUIVALENT = [
    *(Entry(path, line, None, AHEAD) for path, line in (
        ("cl/compute_p.cl", "#define ROWS_AHEAD 6"),
        ("cl/compute_p.cl", "#define AHEAD(mem_, a_) PREFETCH((mem_) + (a_ + ROWS_AHEAD) * b->cols + j)"),
        ("cl/decompress.cl", "#define ROWS_AHEAD 8"),
        ("cl/decompress.cl", "#define AHEAD(mem_, a_) PREFETCH((mem_) + (a_ + ROWS_AHEAD) * b->cols + j)"),
        ("cl/residual.cl", "#define ROWS_AHEAD 8"),
        ("cl/residual.cl", "PREFETCH(b->m + (a_ + ROWS_AHEAD) * b->cols + j) \\"))),
    *(Entry(path, line, None, DEFAULT) for path, line in (
        ("cl/compute_p.cl", "#define PSGD_FORM 1"),
        ("cl/compute_p.cl", "#define PSGD_PRODUCT 1"),
        ("cl/decompress.cl", "#define PSGD_FORM 1"),
        ("cl/residual.cl", "#define PSGD_INTO_ERROR 0"),
        ("cl/orthogonalize_tile.clh", "#define PSGD_GROUP 64"),
        ("cl/orthogonalize_tile.clh", "#define PSGD_VECTOR 1"))),
    *(Entry(path, line, line.replace("<", "<="), NO_ROWS) for path, line in (
        ("cl/orthogonalize_stages.clh", "} while (row < tile->rows);"),
        ("cl/orthogonalize_panel.clh", "} while (row < tile->rows);"))),
    *(Entry("cl/orthogonalize_stages.clh", line, line.replace("panel > 0", "panel > 1"), "panels begin at multiples of 16") for line in (
        "original   = panel > 0 ? at->state->original[j - panel] : at->found.high[j];",
        "from       = (panel > 0) && (suspicious || (left <= LEAKY * at->state->projected[j - panel])) ? 0 : panel;",
        "const uint from = panel > 0 ? at->state->from_finish : 0;")),
    *(Entry("cl/orthogonalize_tile.clh", "tile->item      = PSGD_GROUP == 1 ? 0 : (uint)get_local_id(0);",
            "tile->item      = PSGD_GROUP == %d ? 0 : (uint)get_local_id(0);" % size,
            "where a group has one work-item, its number is 0, and groups of no other size are so small") for size in (0, 2)),
    Entry("cl/orthogonalize_panel.clh", "for (uint first = 0; first < before; first += SLAB) {",
          "for (uint first = 0; first <= before; first += SLAB) {", "one slab more, of no columns, of which nothing is stored"),
    Entry("src/ops/decompress.c", "if (scale_exponent + DUST_EXPONENT >= MIN_EXPONENT) {",
          "if (scale_exponent + DUST_EXPONENT > MIN_EXPONENT) {", "the other way has the same results for every exponent"),
    *(Entry(path, "char            options[PSGD_VARIANT_OPTIONS_BYTES + 24];",
            "char            options[PSGD_VARIANT_OPTIONS_BYTES %s];" % more, "the options are shorter than that")
      for path in ("src/ops/residual.c", "src/ops/compute_p.c") for more in ("+ 23", "+ 25", "- 24")),
    *(Entry("src/ops/decompress.c", line, None, "how rows and columns are cut into tiles: an element is the same in each") for line in (
        "BAND_ROWS       = 4,", "MIN_VECTOR_COLS = 64,", "MAX_VECTOR_COLS = 1024,",
        "FACTOR_ELEMS    = 32768, /* of Q that a work-item with vectors goes over again and again: they stay in its cache */")),
    *(Entry("src/ops/compute_p.c", "return (psgd_ranks_t){with_product ? ranks.common : 0, 1};",
            "return (psgd_ranks_t){with_product ? ranks.common : 0, %d};" % largest, "the size of an array that this form has not")
      for largest in (0, 2)),
    *(Entry("src/ops/orthogonalize.c", "PANEL_LANES = 16,", "PANEL_LANES = %d," % lanes,
            "room in groups of less than 16 work-items: they have vectors, and need none") for lanes in (15, 17)),
    Entry("cl/orthogonalize_stages.clh", "#define LEAKY 0.5f", "#define LEAKY (0.5f + 1)",
          "more is projected again than need be, which is as accurate"),
    *(Entry("cl/orthogonalize_panel.clh", "#define DEPTH %d" % depth, None, "how many rows are in registers: the same sums")
      for depth in (2, 4)),
    *(Entry(path, line, line.replace("4 *", "5 *"), "more memory than is used") for path, line in (
        ("cl/residual.cl",
         "float minus[4 * PSGD_MAX_RANK]; /* -P of the band's rows, where a compiler need not fear that it is stored over */"),
        ("cl/decompress.cl", "float clean[4 * PSGD_MAX_RANK]; /* P^ of the band's rows, without dust */"))),
    *(Entry("src/ops/orthogonalize.c", "STATE_BYTES = (4 + 2 * PANEL) * 4", after, "more memory than is used") for after in (
        "STATE_BYTES = (5 + 2 * PANEL) * 4", "STATE_BYTES = (4 + 3 * PANEL) * 4", "STATE_BYTES = (4 + 2 * PANEL) * 5")),
    *(Entry("src/plan/budget.c", "for (size_t child = 2 * i + 1; (child <= 2 * i + 2) && (child < heap->size); ++child) {",
            "for (size_t child = %s; (child <= %s) && (child < heap->size); ++child) {" % bounds,
            "looks at more than the two below, the first of which goes up all the same: a heap, or a search for its root alone")
      for bounds in (("1 * i + 1", "2 * i + 2"), ("2 * i + 0", "2 * i + 2"), ("2 * i + 1", "2 * i + 3"), ("2 * i + 1", "3 * i + 2"),
                     ("2 * i + 1", "2 * i - 2"))),
    Entry("src/ops/decompress.c", "scale_p->flush_below = join(exponent < 0 ? MIN_EXPONENT - exponent : MIN_EXPONENT, 0);",
          "scale_p->flush_below = join(exponent < 1 ? MIN_EXPONENT - exponent : MIN_EXPONENT, 0);", "an exponent of 0 changes nothing"),
    Entry("src/ops/decompress.c", "scale_p->flush_below = join(exponent < 0 ? MIN_EXPONENT - exponent : MIN_EXPONENT, 0);",
          "scale_p->flush_below = join(exponent <= 0 ? MIN_EXPONENT - exponent : MIN_EXPONENT, 0);", "an exponent of 0 changes nothing"),
    *(Entry("src/plan/plan.c", 'status = psgd_alloc(1, sizeof(*plan), "the plan", &plan);',
            'status = psgd_alloc(%d, sizeof(*plan), "the plan", &plan);' % count,
            "memory for none is memory for one, and more is not used") for count in (0, 2)),
    Entry("cl/orthogonalize_panel.clh", "uint       row  = tile->item * PSGD_VECTOR;", "uint       row  = tile->item / PSGD_VECTOR;",
          "either there is one work-item, or vectors are of one float"),
]


def holds_for(entry, mutant):
    return mutant.before.strip() == entry.line and entry.after in (None, mutant.after.strip())

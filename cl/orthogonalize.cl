/* P^ = orthogonalize(P), for all matrices of a launch: classical Gram-Schmidt with every projection applied again.
 *
 * A matrix is `columns` vectors of `length` elements, one behind the other. Its rows are cut into tiles, and a work-group
 * does one tile of one matrix. What a column needs of the others are sums over all rows: each launch leaves partial sums,
 * one record a tile, and each group of the next launch adds up its matrix's records.
 *
 * Columns come in panels of 16: X = p_b ... p_{b+15}. A panel is projected twice, as a block, against all columns before it
 * (B = p^_0 ... p^_{b-1}); then its columns one by one against those of the panel. Launches, in this order:
 *
 *     orthogonalize_maxima          per tile and column: the largest magnitude
 *     orthogonalize_scale           p_j = 2^s p_j with max |p_j| in [1, 2), from `in` to `out`; a zero column becomes random
 *     then for each panel but the first
 *       orthogonalize_panel_first   X'  = X  - B (B^T X)
 *       orthogonalize_panel_again   X'' = X' - B (B^T X')
 *     and for each column j of the panel
 *       orthogonalize_first         p'  = p_j - sum_{b<=k<j} (p^_k . p_j) p^_k               not for j = b
 *       orthogonalize_again         p'' = p'  - sum_{b<=k<j} (p^_k . p')  p^_k, or, where p_j has vanished
 *                                   (|p'| <= tau |p_j|), p'' = u_j - sum_{k<j} (p^_k . u_j) p^_k with random u_j
 *                                                                                            not for j = b
 *       orthogonalize_finish        p^_j = (p'' - sum_{b<=k<j} (p^_k . p'') p^_k) / |...|; and the sums p^_k . p_{j+1}
 *       orthogonalize_finish_panel  the same for the last column of a panel; and the sums B^T X of the next one
 *
 * Three projections within a panel, not two: after the first, a column that nearly vanished may be mostly rounding noise along
 * the others; the second takes that away, and the third leaves nothing but its own rounding. It costs no launch of its own.
 *
 * Against the columns before the panel two are enough as long as what they leave is not taken away again within the panel,
 * which would magnify their rounding. Where less than half of |p'|^2 is left to a column (it "leaks"), it is projected against
 * all columns before it once more, in orthogonalize_again; and where it nearly vanished, in orthogonalize_finish as well. The first
 * column of a panel finds both in orthogonalize_panel_again, where it is replaced too.
 *
 * Each launch costs time of its own, and on some devices comes behind what other queues have ready. Where a group is one work-item, as
 * on CPUs, the kernel orthogonalize_at_once goes through all stages of a matrix by itself.
 *
 * The same bits whatever the work-group: 64 lanes, of which lane l has the rows l, l + 64, ... of a block of 512 rows as one
 * chain of fma(); then a tree over the lanes, by halves; then blocks and tiles in order, with a compensated sum (those of
 * panels: orthogonalize_panel.clh). Which work-item holds which lanes changes none of this. Nothing is left to a device's own
 * rounding: fma, +, -, * and integer arithmetic alone, the square root by Newton's iteration. */
#include "random.clh"

#pragma OPENCL FP_CONTRACT OFF

/* 1: all stages are one kernel, with a group of one work-item. */
#ifndef PSGD_AT_ONCE
#define PSGD_AT_ONCE 0
#endif

#include "orthogonalize_tile.clh"
#include "orthogonalize_panel.clh"

/* A column is given up where no more of it is left: |p'| <= 1e-6 |p|. Fp32 leaves about 1e-7 of a dependent column. */
#define TAU_SQUARED 1e-12f

/* Below this remainder |p'|^2 / |p|^2, by Pythagoras (good to about 1e-6), replacements are prepared. */
#define SUSPICIOUS 1e-4f

/* A column leaks where no more than this is left within its panel of its |p'|^2. */
#define LEAKY 0.5f

/* Scaled elements below 2^-64 become 0, so that no product below is denormal because of them. */
#define MIN_SCALED_EXPONENT (127 - 64)


/* What launches tell later ones about the column at work, a matrix each; its size is in ops/orthogonalize.c too. */
typedef struct state {
    float vanishing;        /* |p_j|^2 where the column may vanish, -1 where not */
    uint  from_again;       /* the first column that orthogonalize_again projects it against: 0, or that of the panel */
    uint  from_finish;      /* the same for orthogonalize_finish */
    uint  unused;
    float original[PANEL];  /* |p|^2 of the panel's columns, for panels but the first */
    float projected[PANEL]; /* |p'|^2 */
} state_t;

/* ---- the column's largest magnitude, and its scale ---- */

/* Largest magnitudes as bits: integers are ordered as the floats are, and a device that flushes denormals sees them. */
static void find_maxima(const tile_t *tile, global const float *in, global uint *maxima, local uint *scratch)
{
    global uint *to = maxima + tile->matrix.records + (ulong)tile->in_matrix * tile->record;

    for (uint k = 0; k < tile->matrix.columns; ++k) {
        words_t largest = (words_t)(0u);

        for (uint row = 0; row < tile->rows; row += BLOCK_ROWS) {
            global const float *column = in + block_offset(tile, row) + (ulong)k * tile->matrix.length;
            const uint          rows   = min((uint)BLOCK_ROWS, tile->rows - row);

            KEEP_LOOP
            for (int v = 0; v < SHARE; ++v) {
                largest = max(largest, AS_WORDS(load_vector(column, row_of(tile, v), rows)) & 0x7FFFFFFFu);
            }
        }
#if PSGD_VECTOR == 16
        const uint8 by_8 = max(largest.lo, largest.hi);
        const uint4 by_4 = max(by_8.lo, by_8.hi);
        const uint2 by_2 = max(by_4.lo, by_4.hi);

        scratch[tile->item] = max(by_2.lo, by_2.hi);
#else
        scratch[tile->item] = largest;
#endif
        MEET();
        for (uint reach = PSGD_GROUP / 2; reach >= 1; reach /= 2) {
            if (tile->item < reach) {
                scratch[tile->item] = max(scratch[tile->item], scratch[tile->item + reach]);
            }
            MEET();
        }
        if (tile->item == 0) {
            to[k] = scratch[0];
        }
        MEET();
    }
}

/* Magnitude bits as those of a normal float, and the power of two to go with it: |x| = as_float(result) * 2^exponent. */
static words_t normalize(words_t magnitude, ints_t *exponent_p)
{
    const words_t from_integer = AS_WORDS(CONVERT_VECTOR(magnitude)); /* a denormal is its bits times 2^-149 */

    *exponent_p = select((ints_t)(0), (ints_t)(-149), magnitude < 0x00800000u);
    return select(magnitude, from_integer, magnitude < 0x00800000u);
}

/* x * 2^shift for |x| * 2^shift < 2, in integers: exact, also from and through denormals. */
static vector_t scale(vector_t x, int shift)
{
    const words_t bits = AS_WORDS(x);
    ints_t        exponent;
    const words_t magnitude = normalize(bits & 0x7FFFFFFFu, &exponent);
    words_t       scaled;

    exponent += AS_INTS(magnitude >> 23) + shift;
    scaled = (bits & 0x80000000u) | (AS_WORDS(exponent) << 23) | (magnitude & 0x007FFFFFu);
    return AS_VECTOR(select(scaled, (words_t)(0u), exponent < MIN_SCALED_EXPONENT));
}

/* The shift that brings a magnitude (as bits, not 0) into [1, 2). */
static int shift_of(uint magnitude)
{
    if (magnitude >= 0x00800000u) {
        return 127 - (int)(magnitude >> 23);
    }
    return 127 + 149 - (int)(as_uint(convert_float(magnitude)) >> 23);
}

/* A column with NaN or Inf becomes NaN, and those after it with it. */
static void scale_columns(const tile_t *tile, global const float *in, global float *out, global const uint *maxima,
                          global float *records, ulong step, local uint *largest, sums_t sums)
{
    global const uint *from = maxima + tile->matrix.records;
    vector_t           x[SHARE];

    for (uint k = tile->item; k < tile->matrix.columns; k += PSGD_GROUP) {
        uint of_all = 0;

        for (uint t = 0; t < tile->matrix.num_tiles; ++t) {
            of_all = max(of_all, from[(ulong)t * tile->record + k]);
        }
        largest[k] = of_all;
    }
    clear_sums(tile, sums, 0, 1);
    for (uint row = 0; row < tile->rows; row += BLOCK_ROWS) {
        const uint rows = min((uint)BLOCK_ROWS, tile->rows - row);

        for (uint k = 0; k < tile->matrix.columns; ++k) {
            const ulong at = block_offset(tile, row) + (ulong)k * tile->matrix.length;

            if (largest[k] == 0) {
                random_block(tile, step, k, 0, tile->first_row + row, rows, x);
            } else {
                const int shift = shift_of(largest[k]);

                load_block(tile, in + at, rows, x);
                KEEP_LOOP
                for (int v = 0; v < SHARE; ++v) {
                    x[v] = largest[k] < 0x7F800000u ? scale(x[v], shift) : (vector_t)(NAN);
                }
            }
            store_block(tile, x, out + at, rows);
            if (k == 0) {
                add_dots(tile, x, out, 0, 0, rows, sums);
            }
        }
    }
    store_sums(tile, sums, 0, 1, records, 0);
}

/* What the stages below work with. */
typedef struct place {
    global float       *columns;     /* column 0 of the matrix, from the tile's first row on */
    global const float *records_in;  /* what the stage before has left */
    global float       *records_out; /* what this one leaves */
    global state_t     *state;       /* of the matrix */
    sums_t              found;       /* room for sums over all tiles, */
    sums_t              sums;        /* and for those of this tile */
} place_t;

static void find_place(const tile_t *tile, global float *out, global const float *records_in, global float *records_out,
                       global state_t *states, local float *coefficients, local float *high, local float *low,
                       local float *scratch, place_t *place)
{
    place->columns       = out + block_offset(tile, 0);
    place->records_in    = records_in;
    place->records_out   = records_out;
    place->state         = states + tile->index;
    place->found.high    = coefficients;
    place->found.low     = low;
    place->found.scratch = scratch;
    place->sums.high     = high;
    place->sums.low      = low;
    place->sums.scratch  = scratch;
}

/* ---- a panel against the columns before it ---- */

/* norms[c] = |x_c|^2 of the panel's columns but the first, whose records the launch before has left; written by one tile. */
static void keep_norms(const tile_t *tile, global const float *records, uint before, uint width, sums_t found,
                       global float *norms)
{
    MEET();
    for (uint c = 1; c < width; ++c) {
        add_region(tile, records, c, before, 1, found.high + c * PSGD_VECTOR, found.low + c * PSGD_VECTOR);
    }
    MEET();
    for (uint c = 1 + tile->item; (tile->in_matrix == 0) && (c < width); c += PSGD_GROUP) {
        norms[c] = found.high[c * PSGD_VECTOR];
    }
}

/* Where column j is `suspicious`, the sums of both candidates for it with the columns before it. Here and below a condition
 * around barriers is that of a loop: some compilers double whatever follows an `if` with a barrier inside. So they do behind a loop
 * that may not run at all: with a barrier inside, those that run once at least are written so (`do`). */
static void add_candidates(const tile_t *tile, bool suspicious, ulong step, uint j, global const float *columns, sums_t sums,
                           global float *records)
{
    vector_t x[SHARE];

    for (uint candidate = 0; suspicious && (candidate < CANDIDATES); ++candidate) {
        uint row = 0;

        clear_sums(tile, sums, 0, j + 1);
        do {
            const uint rows = min((uint)BLOCK_ROWS, tile->rows - row);

            random_block(tile, step, j, candidate, tile->first_row + row, rows, x);
            add_dots(tile, x, columns + row, 0, j, rows, sums);
            row += BLOCK_ROWS;
        } while (row < tile->rows);
        store_sums(tile, sums, 0, j + 1, records, tile->regions + candidate);
    }
}

/* Where column j has `vanished`, the candidate of which most is left beside the columns before it. */
static uint choose_candidate(const tile_t *tile, bool vanished, global const float *records, uint j, sums_t found)
{
    float most   = -1.0f;
    uint  chosen = 0;

    for (uint candidate = 0; vanished && (candidate < CANDIDATES); ++candidate) {
        float norm_squared, left;

        add_records(tile, records, tile->regions + candidate, 0, j + 1, found);
        norm_squared = found.high[j];
        left         = norm_squared - sum_of_squares(found.high, 0, j);
        if (left > most * norm_squared) {
            most   = left / norm_squared;
            chosen = candidate;
        }
    }
    return chosen;
}

/* The panel begins at column j. */
static void panel_first(const tile_t *tile, const place_t *at, uint j, ulong step)
{
    const uint width = min((uint)PANEL, tile->matrix.columns - j);
    float      norm_squared;
    bool       suspicious;

    add_records(tile, at->records_in, 0, 0, j + 1, at->found);
    norm_squared = at->found.high[j];
    suspicious   = norm_squared - sum_of_squares(at->found.high, 0, j) <= SUSPICIOUS * norm_squared;
    if ((tile->in_matrix == 0) && (tile->item == 0)) {
        at->state->vanishing = suspicious ? norm_squared : -1.0f;
    }
    keep_norms(tile, at->records_in, j, width, at->found, at->state->original);
    subtract_panel(tile, at->records_in, 0, at->columns, j, width, at->found);
    MEET_GLOBAL();
    dot_panel(tile, at->columns, j, width, at->sums, at->records_out);
    add_candidates(tile, suspicious, step, j, at->columns, at->sums, at->records_out);
}

/* The same again; and the first column's sums, with itself, or, where it leaks, with all columns before it. */
static void panel_again(const tile_t *tile, const place_t *at, uint j, ulong step)
{
    const uint    width  = min((uint)PANEL, tile->matrix.columns - j);
    global float *column = at->columns + (ulong)j * tile->matrix.length;
    const float   before = at->state->vanishing;
    vector_t      x[SHARE];
    uint          row    = 0;
    uint          from   = j;
    uint          candidate;
    bool          vanished;

    add_records(tile, at->records_in, 0, 0, j + 1, at->found);
    if ((before >= 0.0f) || (at->found.high[j] - sum_of_squares(at->found.high, 0, j) <= LEAKY * at->found.high[j])) {
        from = 0;
    }
    vanished  = (before >= 0.0f) && (at->found.high[j] <= TAU_SQUARED * before);
    candidate = choose_candidate(tile, vanished, at->records_in, j, at->found);
    for (uint first = 0; vanished && (first < tile->rows); first += BLOCK_ROWS) {
        const uint rows = min((uint)BLOCK_ROWS, tile->rows - first);

        random_block(tile, step, j, candidate, tile->first_row + first, rows, x);
        store_block(tile, x, column + first, rows);
    }
    if ((tile->in_matrix == 0) && (tile->item == 0)) {
        at->state->from_finish = from;
    }
    keep_norms(tile, at->records_in, j, width, at->found, at->state->projected);
    MEET_GLOBAL();
    subtract_panel(tile, at->records_in, vanished ? tile->regions + candidate : 0, at->columns, j, width, at->found);
    MEET_GLOBAL();
    clear_sums(tile, at->sums, from, j + 1);
    do {
        const uint rows = min((uint)BLOCK_ROWS, tile->rows - row);

        load_block(tile, column + row, rows, x);
        add_dots(tile, x, at->columns + row, from, j, rows, at->sums);
        row += BLOCK_ROWS;
    } while (row < tile->rows);
    store_sums(tile, at->sums, from, j + 1, at->records_out, 0);
}

/* ---- one column j against those before it; `panel` is the first column of its panel ---- */

static void column_first(const tile_t *tile, const place_t *at, uint panel, uint j, ulong step)
{
    uint     row = 0;
    vector_t x[SHARE];
    float    original, left;
    bool     suspicious;
    uint     from;

    add_records(tile, at->records_in, 0, panel, j + 1, at->found);
    original   = panel > 0 ? at->state->original[j - panel] : at->found.high[j];
    left       = at->found.high[j] - sum_of_squares(at->found.high, panel, j);
    suspicious = left <= SUSPICIOUS * original;
    from       = (panel > 0) && (suspicious || (left <= LEAKY * at->state->projected[j - panel])) ? 0 : panel;
    if ((tile->in_matrix == 0) && (tile->item == 0)) {
        at->state->vanishing  = suspicious ? original : -1.0f;
        at->state->from_again = from;
    }
    clear_sums(tile, at->sums, from, j + 1);
    do {
        const uint    rows    = min((uint)BLOCK_ROWS, tile->rows - row);
        global float *columns = at->columns + row;
        global float *column  = columns + (ulong)j * tile->matrix.length;

        load_block(tile, column, rows, x);
        subtract_columns(tile, at->found.high, panel, j, columns, rows, x);
        store_block(tile, x, column, rows);
        add_dots(tile, x, columns, from, j, rows, at->sums);
        row += BLOCK_ROWS;
    } while (row < tile->rows);
    store_sums(tile, at->sums, from, j + 1, at->records_out, 0);
    add_candidates(tile, suspicious, step, j, at->columns, at->sums, at->records_out);
}

static void column_again(const tile_t *tile, const place_t *at, uint panel, uint j, ulong step)
{
    const float before    = at->state->vanishing;
    uint        from      = at->state->from_again;
    const uint  next_from = before >= 0.0f ? 0 : panel;
    uint        row       = 0;
    vector_t    x[SHARE];
    uint        candidate = 0;
    bool        vanished;

    add_records(tile, at->records_in, 0, from, j + 1, at->found);
    vanished = (before >= 0.0f) && (at->found.high[j] <= TAU_SQUARED * before);
    if (vanished) {
        from      = 0;
        candidate = choose_candidate(tile, vanished, at->records_in, j, at->found);
        add_records(tile, at->records_in, tile->regions + candidate, 0, j + 1, at->found);
    }
    if ((tile->in_matrix == 0) && (tile->item == 0)) {
        at->state->from_finish = next_from;
    }
    clear_sums(tile, at->sums, next_from, j + 1);
    do {
        const uint    rows    = min((uint)BLOCK_ROWS, tile->rows - row);
        global float *columns = at->columns + row;
        global float *column  = columns + (ulong)j * tile->matrix.length;

        if (vanished) {
            random_block(tile, step, j, candidate, tile->first_row + row, rows, x);
        } else {
            load_block(tile, column, rows, x);
        }
        subtract_columns(tile, at->found.high, from, j, columns, rows, x);
        store_block(tile, x, column, rows);
        add_dots(tile, x, columns, next_from, j, rows, at->sums);
        row += BLOCK_ROWS;
    } while (row < tile->rows);
    store_sums(tile, at->sums, next_from, j + 1, at->records_out, 0);
}

/* 1 / sqrt(high + low) = *root_p + *rest_p, to about 40 bits: a guess from the exponent, then Newton's iteration. */
static void inverse_root(float high, float low, float *root_p, float *rest_p)
{
    float y = as_float(0x5F375A86u - (as_uint(high) >> 1));
    float square, error;

    for (int i = 0; i < 4; ++i) {
        y = y * fma(-0.5f * high * y, y, 1.5f);
    }
    square  = y * y;
    error   = fma(-high, square, 1.0f);                  /* 1 - high y^2: what the rounding of y^2 left comes next */
    error   = fma(-high, fma(y, y, -square), error);
    error   = fma(-low, square, error);
    *root_p = y;
    *rest_p = 0.5f * y * error;
}

/* The last projection of column j against those before it, and its norm; has_next: and the sums of column j + 1
 * with the columns from `panel` on. */
static void column_finish(const tile_t *tile, const place_t *at, uint panel, uint j, bool has_next)
{
    const uint from = panel > 0 ? at->state->from_finish : 0;
    uint       row  = 0;
    vector_t   x[SHARE];
    float      norm_squared, rest, root, root_rest;

    /* |p'' - sum d_k p^_k|^2 = |p''|^2 - sum d_k^2: accurate, since what is left to subtract is rounding noise. */
    add_records(tile, at->records_in, 0, from, j + 1, at->found);
    norm_squared = at->found.high[j];
    rest         = at->found.low[j] - sum_of_squares(at->found.high, from, j);
    inverse_root(norm_squared, rest, &root, &root_rest);
    clear_sums(tile, at->sums, panel, j + 2);
    do {
        const uint    rows    = min((uint)BLOCK_ROWS, tile->rows - row);
        global float *columns = at->columns + row;
        global float *column  = columns + (ulong)j * tile->matrix.length;

        load_block(tile, column, rows, x);
        subtract_columns(tile, at->found.high, from, j, columns, rows, x);
        KEEP_LOOP
        for (int v = 0; v < SHARE; ++v) {
            x[v] = fma(x[v], (vector_t)(root), x[v] * root_rest);
        }
        store_block(tile, x, column, rows);
        if (has_next) {
            load_block(tile, column + tile->matrix.length, rows, x);
            add_dots(tile, x, columns, panel, j + 1, rows, at->sums);
        }
        row += BLOCK_ROWS;
    } while (row < tile->rows);
    if (has_next) {
        store_sums(tile, at->sums, panel, j + 2, at->records_out, 0);
    }
}

/* The same for the last column of a panel; and the sums of the next panel with the columns before it. */
static void panel_finish(const tile_t *tile, const place_t *at, uint panel, uint j)
{
    const uint next = j + 1 < tile->matrix.columns ? j + 1 : 0; /* 0: no columns are left, and nothing is to be done */

    column_finish(tile, at, panel, j, false);
    MEET_GLOBAL();
    dot_panel(tile, at->columns, next, next > 0 ? min((uint)PANEL, tile->matrix.columns - next) : 0, at->sums,
              at->records_out);
}

#if !PSGD_AT_ONCE

/* ---- a launch a stage: a work-group does its tile ---- */

kernel void orthogonalize_maxima(global const matrix_t *matrices, global const uint *matrix_of_tile,
                                 global const float *in, ulong in_offset, global uint *maxima, local uint *scratch)
{
    tile_t tile;

    find_tile(matrices, matrix_of_tile, &tile);
    find_maxima(&tile, in + in_offset, maxima, scratch);
}

kernel void orthogonalize_scale(global const matrix_t *matrices, global const uint *matrix_of_tile,
                                global const float *in, ulong in_offset, global float *out, ulong out_offset,
                                global const uint *maxima, global float *records, ulong step, local uint *largest,
                                local float *high, local float *low, local float *scratch)
{
    const sums_t sums = {high, low, scratch};
    tile_t       tile;

    find_tile(matrices, matrix_of_tile, &tile);
    scale_columns(&tile, in + in_offset, out + out_offset, maxima, records, step, largest, sums);
}

#define STAGE_ARGUMENTS \
    global const matrix_t *matrices, global const uint *matrix_of_tile, global float *out, ulong out_offset, \
    global const float *records_in, global float *records_out, global state_t *states, uint panel, uint j, ulong step, \
    local float *coefficients, local float *high, local float *low, local float *scratch

#define FIND_TILE_AND_PLACE() \
    tile_t  tile; \
    place_t place; \
\
    find_tile(matrices, matrix_of_tile, &tile); \
    find_place(&tile, out + out_offset, records_in, records_out, states, coefficients, high, low, scratch, &place)

kernel void orthogonalize_panel_first(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    panel_first(&tile, &place, j, step);
}

kernel void orthogonalize_panel_again(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    panel_again(&tile, &place, j, step);
}

kernel void orthogonalize_first(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    column_first(&tile, &place, panel, j, step);
}

kernel void orthogonalize_again(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    column_again(&tile, &place, panel, j, step);
}

kernel void orthogonalize_finish(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    column_finish(&tile, &place, panel, j, j + 1 < tile.matrix.columns);
}

kernel void orthogonalize_finish_panel(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    panel_finish(&tile, &place, panel, j);
}

#else

/* ---- all stages in one launch: a work-group of one work-item does all tiles of its matrix, one after the other ---- */

typedef enum stage { PANEL_FIRST, PANEL_AGAIN, FIRST, AGAIN, FINISH, FINISH_PANEL } stage_t;

/* The stage behind `stage`, of column *j_p or the one after it. */
static stage_t stage_after(stage_t stage, uint *j_p)
{
    switch (stage) {
    case PANEL_FIRST: return PANEL_AGAIN;
    case FIRST: return AGAIN;
    case PANEL_AGAIN:
    case AGAIN: return *j_p % PANEL == PANEL - 1 ? FINISH_PANEL : FINISH;
    case FINISH:
    case FINISH_PANEL: break;
    }
    *j_p += 1;
    return *j_p % PANEL == 0 ? PANEL_FIRST : FIRST;
}

/* One stage of one tile. */
static void run_stage(stage_t stage, const tile_t *tile, const place_t *place, uint j, ulong step)
{
    const uint panel = j - j % PANEL;

    switch (stage) {
    case PANEL_FIRST: panel_first(tile, place, j, step); break;
    case PANEL_AGAIN: panel_again(tile, place, j, step); break;
    case FIRST: column_first(tile, place, panel, j, step); break;
    case AGAIN: column_again(tile, place, panel, j, step); break;
    case FINISH: column_finish(tile, place, panel, j, j + 1 < tile->matrix.columns); break;
    case FINISH_PANEL: panel_finish(tile, place, panel, j); break;
    }
}

kernel void orthogonalize_at_once(global const matrix_t *matrices, global const float *in, ulong in_offset,
                                  global float *out, ulong out_offset, global float *records_0, global float *records_1,
                                  global state_t *states, ulong step, local float *coefficients, local float *high,
                                  local float *low, local float *scratch)
{
    const uint    index   = (uint)get_group_id(0);
    const uint    tiles   = matrices[index].num_tiles;
    const uint    columns = matrices[index].columns;
    const sums_t  sums    = {high, low, scratch};
    global float *newest  = records_1; /* what the last stage has left */
    global float *other   = records_0;
    stage_t       stage   = FINISH; /* of column 0, which has none before it */

    for (uint t = 0; t < tiles; ++t) {
        tile_t tile;

        find_tile_of(matrices, index, t, &tile);
        find_maxima(&tile, in + in_offset, (global uint *)records_0, (local uint *)scratch);
    }
    for (uint t = 0; t < tiles; ++t) {
        tile_t tile;

        find_tile_of(matrices, index, t, &tile);
        scale_columns(&tile, in + in_offset, out + out_offset, (global const uint *)records_0, records_1, step,
                      (local uint *)coefficients, sums);
    }
    for (uint j = 0; j < columns; stage = stage_after(stage, &j)) {
        global float *const written = other;

        for (uint t = 0; t < tiles; ++t) {
            tile_t  tile;
            place_t place;

            find_tile_of(matrices, index, t, &tile);
            find_place(&tile, out + out_offset, newest, written, states, coefficients, high, low, scratch, &place);
            run_stage(stage, &tile, &place, j, step);
        }
        other  = newest;
        newest = written;
    }
}

#endif

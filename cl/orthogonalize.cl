/* P^ = orthogonalize(P), for all matrices of a launch: classical Gram-Schmidt with every projection applied again.
 *
 * A matrix is `columns` vectors of `length` elements, one behind the other. Its rows are cut into tiles, and a work-group
 * does one tile of one matrix. What a column needs of the others are sums over all rows: each launch leaves partial sums,
 * one record a tile, and each group of the next launch adds up its matrix's records. Launches, in this order:
 *
 *     orthogonalize_maxima    per tile and column: the largest magnitude
 *     orthogonalize_scale     p_j = 2^s p_j with max |p_j| in [1, 2), from `in` to `out`; a zero column becomes random
 *     then for each column j
 *       orthogonalize_first   p'  = p_j - sum_{k<j} (p^_k . p_j) p^_k                    not for j = 0
 *       orthogonalize_again   p'' = p'  - sum_{k<j} (p^_k . p')  p^_k, or, where p_j has vanished (|p'| <= tau |p_j|),
 *                             p'' = u_j - sum_{k<j} (p^_k . u_j) p^_k with random u_j     not for j = 0
 *       orthogonalize_finish  p^_j = (p'' - sum_{k<j} (p^_k . p'') p^_k) / |...|; and the sums p^_k . p_{j+1} for k <= j
 *
 * Three projections, not two: after the first, a column that nearly vanished may be mostly rounding noise along the others;
 * the second takes that away, and the third leaves nothing but its own rounding. It costs no launch of its own.
 *
 * The same bits whatever the work-group: 64 lanes, of which lane l has the rows l, l + 64, ... of a block of 512 rows as one
 * chain of fma(); then a tree over the lanes, by halves; then blocks and tiles in order, with a compensated sum. Which
 * work-item holds which lanes changes none of this. Nothing is left to a device's own rounding: fma, +, -, * and integer
 * arithmetic alone, the square root by Newton's iteration. */
#include "random.clh"

#pragma OPENCL FP_CONTRACT OFF

/* Work-items of a group: a power of two up to 64. */
#ifndef PSGD_GROUP
#define PSGD_GROUP 64
#endif

/* Lanes of a vector: 1, so that neighbouring work-items read neighbouring memory (GPUs); or 16 with a group of 1 (CPUs). */
#ifndef PSGD_VECTOR
#define PSGD_VECTOR 1
#endif

#define LANES      64
#define CHAIN      8                                     /* rows of a lane in a block */
#define BLOCK_ROWS (LANES * CHAIN)                       /* also in ops/orthogonalize.c */
#define VECTORS    (LANES / (PSGD_VECTOR * PSGD_GROUP))  /* of one work-item, 64 rows */
#define SHARE      (CHAIN * VECTORS)                     /* vectors of one work-item, a block */
#define STRIP      8                                     /* vectors of a column at work at once; divides SHARE */
#define BATCH      16                                    /* sums that go through one tree together; also in the .c */

/* A column is given up where no more of it is left: |p'| <= 1e-6 |p|. Fp32 leaves about 1e-7 of a dependent column. */
#define TAU_SQUARED 1e-12f

/* Below this remainder |p'|^2 / |p|^2, by Pythagoras (good to about 1e-6), replacements are prepared. */
#define SUSPICIOUS 1e-4f

/* Two random columns are tried and the better one is taken: of a square matrix's last column all but one direction is taken
 * already, and one random column in 4e5 has less than 1e-6 of itself there. Column numbers end below the distance. */
#define CANDIDATES         2
#define CANDIDATE_DISTANCE 65536

/* Scaled elements below 2^-64 become 0, so that no product below is denormal because of them. */
#define MIN_SCALED_EXPONENT (127 - 64)

#if PSGD_VECTOR == 16
typedef float16 vector_t;
typedef uint16  words_t;
typedef int16   ints_t;
#define AS_WORDS         as_uint16
#define AS_INTS          as_int16
#define AS_VECTOR        as_float16
#define CONVERT_VECTOR   convert_float16
#define RANDOM_VALUES    psgd_random_value16
#define FIRST_ELEMENTS   ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#define LOAD(from_)      vload16(0, (from_))
#define STORE(x_, to_)   vstore16((x_), 0, (to_))
#else
typedef float vector_t;
typedef uint  words_t;
typedef int   ints_t;
#define AS_WORDS         as_uint
#define AS_INTS          as_int
#define AS_VECTOR        as_float
#define CONVERT_VECTOR   convert_float
#define RANDOM_VALUES    psgd_random_value
#define FIRST_ELEMENTS   0u
#define LOAD(from_)      (*(from_))
#define STORE(x_, to_)   (*(to_) = (x_))
#endif

/* Before a loop over the vectors of a block. On CPUs the block lies in the cache, and unrolling so much code only takes
 * compilers seconds; on GPUs it lies in registers, which have no numbers to loop over. */
#if PSGD_VECTOR > 1
#define KEEP_LOOP _Pragma("unroll 1")
#else
#define KEEP_LOOP
#endif

/* The work-items of a group wait for each other; one alone has nobody to wait for, and compilers much less to do. */
#if PSGD_GROUP > 1
#define MEET() barrier(CLK_LOCAL_MEM_FENCE)
#else
#define MEET()
#endif

/* One matrix; the same in ops/orthogonalize.c. */
typedef struct matrix {
    ulong offset;     /* of its first element, from the offset of the buffer on */
    ulong key;        /* of the random columns */
    ulong records;    /* where its records of partial sums begin; one record is (1 + CANDIDATES) x columns floats */
    uint  length;     /* of a column */
    uint  columns;
    uint  first_tile;
    uint  num_tiles;
    uint  tile_rows;  /* a multiple of BLOCK_ROWS */
    uint  unused;
} matrix_t;

/* One work-group's part. */
typedef struct tile {
    matrix_t matrix;
    uint     index;      /* of the matrix */
    uint     in_matrix;  /* number of the tile within its matrix */
    uint     first_row;
    uint     rows;       /* 1 to tile_rows */
    uint     record;     /* floats of one record */
    uint     item;       /* this work-item */
} tile_t;

/* Local memory: sums with what their rounding lost, and the tree. */
typedef struct sums {
    local float *high;    /* columns + BATCH */
    local float *low;     /* columns + BATCH */
    local float *scratch; /* BATCH x PSGD_GROUP */
} sums_t;

static tile_t find_tile(global const matrix_t *matrices, global const uint *matrix_of_tile)
{
    const uint number = (uint)get_group_id(0);
    tile_t     tile;

    tile.index     = matrix_of_tile[number];
    tile.matrix    = matrices[tile.index];
    tile.in_matrix = number - tile.matrix.first_tile;
    tile.first_row = tile.in_matrix * tile.matrix.tile_rows;
    tile.rows      = min(tile.matrix.tile_rows, tile.matrix.length - tile.first_row);
    tile.record    = (1 + CANDIDATES) * tile.matrix.columns;
    tile.item      = PSGD_GROUP == 1 ? 0 : (uint)get_local_id(0);
    return tile;
}

/* Where the block at `row` of the tile begins in column 0. */
static ulong block_offset(const tile_t *tile, uint row)
{
    return tile->matrix.offset + tile->first_row + row;
}

/* The number within a block of the first row of this work-item's vector `v`. */
static uint row_of(const tile_t *tile, int v)
{
    return (uint)(v / VECTORS * LANES + (v % VECTORS * PSGD_GROUP + (int)tile->item) * PSGD_VECTOR);
}

/* ---- blocks: up to 512 rows of one column, the share of one work-item as vectors; rows beyond `rows` are 0 ---- */

static vector_t load_vector(global const float *column, uint row, uint rows)
{
    if ((rows == BLOCK_ROWS) || (row + PSGD_VECTOR <= rows)) { /* a constant `rows` leaves nothing to ask */
        return LOAD(column + row);
    }
#if PSGD_VECTOR > 1
    if (row < rows) {
        float some[PSGD_VECTOR];

        for (uint i = 0; i < PSGD_VECTOR; ++i) {
            some[i] = row + i < rows ? column[row + i] : 0.0f;
        }
        return LOAD(some);
    }
#endif
    return (vector_t)(0.0f);
}

static void store_vector(vector_t x, global float *column, uint row, uint rows)
{
    if (row + PSGD_VECTOR <= rows) {
        STORE(x, column + row);
        return;
    }
#if PSGD_VECTOR > 1
    if (row < rows) {
        float some[PSGD_VECTOR];

        STORE(x, some);
        for (uint i = 0; row + i < rows; ++i) {
            column[row + i] = some[i];
        }
    }
#endif
}

static void load_block(const tile_t *tile, global const float *column, uint rows, vector_t *x)
{
    KEEP_LOOP
    for (int v = 0; v < SHARE; ++v) {
        x[v] = load_vector(column, row_of(tile, v), rows);
    }
}

static void store_block(const tile_t *tile, const vector_t *x, global float *column, uint rows)
{
    KEEP_LOOP
    for (int v = 0; v < SHARE; ++v) {
        store_vector(x[v], column, row_of(tile, v), rows);
    }
}

/* A candidate for column j, from element `first` on. Never 0, so that a column of one element has a direction. */
static void random_block(const tile_t *tile, ulong step, uint column, uint candidate, uint first, uint rows, vector_t *x)
{
    KEEP_LOOP
    for (int v = 0; v < SHARE; ++v) {
        const words_t  row   = row_of(tile, v) + FIRST_ELEMENTS;
        const vector_t value = RANDOM_VALUES(tile->matrix.key, step, column + candidate * CANDIDATE_DISTANCE, first + row);
        const vector_t drawn = select(value, (vector_t)(0x1p-22f), value == 0.0f);

        x[v] = select((vector_t)(0.0f), drawn, row < rows);
    }
}

/* As below; a constant `rows` makes another, faster function of it. */
static void subtract_from_rows(const tile_t *tile, local const float *coefficients, uint count,
                               global const float *columns, uint rows, vector_t *x)
{
    KEEP_LOOP
    for (int first = 0; first < SHARE; first += STRIP) { /* as many vectors as fit into registers */
        global const float *column = columns;
        vector_t            strip[STRIP];

        for (int v = 0; v < STRIP; ++v) {
            strip[v] = x[first + v];
        }
        for (uint k = 0; k < count; ++k, column += tile->matrix.length) {
            const vector_t coefficient = (vector_t)(-coefficients[k]);

            for (int v = 0; v < STRIP; ++v) {
                strip[v] = fma(coefficient, load_vector(column, row_of(tile, first + v), rows), strip[v]);
            }
        }
        for (int v = 0; v < STRIP; ++v) {
            x[first + v] = strip[v];
        }
    }
}

/* x -= sum_{k < count} coefficients[k] * column k, as a chain of fma over k. */
static void subtract_columns(const tile_t *tile, local const float *coefficients, uint count,
                             global const float *columns, uint rows, vector_t *x)
{
    if (rows == BLOCK_ROWS) {
        subtract_from_rows(tile, coefficients, count, columns, BLOCK_ROWS, x);
    } else {
        subtract_from_rows(tile, coefficients, count, columns, rows, x);
    }
}

/* ---- sums over the rows of a tile ---- */

/* *high_p + *low_p += x, exact but for the rounding of *low_p (Knuth's TwoSum). */
#define DEFINE_ADD_EXACTLY(name_, type_) \
    static void name_(type_ *high_p, type_ *low_p, type_ x) \
    { \
        const type_ sum    = *high_p + x; \
        const type_ part_x = sum - *high_p; \
        *low_p += (*high_p - (sum - part_x)) + (x - part_x); \
        *high_p = sum; \
    }

DEFINE_ADD_EXACTLY(add_exactly, float)
#if PSGD_VECTOR == 16
DEFINE_ADD_EXACTLY(add_vectors_exactly, float16)
#else
#define add_vectors_exactly add_exactly
#endif

/* The lower levels of the tree, within one work-item: what is left are lanes of neighbouring work-items. */
static float add_lanes(vector_t *sum)
{
    for (int reach = VECTORS / 2; reach >= 1; reach /= 2) {
        for (int q = 0; q < reach; ++q) {
            sum[q] += sum[q + reach];
        }
    }
#if PSGD_VECTOR == 16
    const float8 by_8 = sum[0].lo + sum[0].hi;
    const float4 by_4 = by_8.lo + by_8.hi;
    const float2 by_2 = by_4.lo + by_4.hi;

    return by_2.lo + by_2.hi;
#else
    return sum[0];
#endif
}

/* As below; a constant `rows` makes another, faster function of it. */
static float dot_rows(const tile_t *tile, const vector_t *x, global const float *column, uint rows)
{
    vector_t sum[VECTORS];

    for (int q = 0; q < VECTORS; ++q) {
        sum[q] = (vector_t)(0.0f);
    }
    KEEP_LOOP
    for (int first = 0; first < SHARE; first += VECTORS) {
        for (int q = 0; q < VECTORS; ++q) {
            sum[q] = fma(x[first + q], load_vector(column, row_of(tile, first + q), rows), sum[q]);
        }
    }
    return add_lanes(sum);
}

/* The part of this work-item in x . column. */
static float dot_column(const tile_t *tile, const vector_t *x, global const float *column, uint rows)
{
    return rows == BLOCK_ROWS ? dot_rows(tile, x, column, BLOCK_ROWS) : dot_rows(tile, x, column, rows);
}

/* The part of this work-item in x . x. */
static float dot_self(const vector_t *x)
{
    vector_t sum[VECTORS];

    for (int q = 0; q < VECTORS; ++q) {
        sum[q] = (vector_t)(0.0f);
    }
    KEEP_LOOP
    for (int first = 0; first < SHARE; first += VECTORS) {
        for (int q = 0; q < VECTORS; ++q) {
            sum[q] = fma(x[first + q], x[first + q], sum[q]);
        }
    }
    return add_lanes(sum);
}

/* The upper levels of the tree, for `count` sums at once: scratch[i * PSGD_GROUP] = the sum over the group. */
static void add_items(const tile_t *tile, local float *scratch, uint count)
{
    MEET();
    for (uint reach = PSGD_GROUP / 2; reach >= 1; reach /= 2) {
        for (uint i = tile->item; i < count * reach; i += PSGD_GROUP) {
            const uint at = i / reach * PSGD_GROUP + i % reach;

            scratch[at] += scratch[at + reach];
        }
        MEET();
    }
}

static void clear_sums(const tile_t *tile, sums_t sums, uint count)
{
    MEET();
    for (uint k = tile->item; k < count; k += PSGD_GROUP) {
        sums.high[k] = 0.0f;
        sums.low[k]  = 0.0f;
    }
    MEET();
}

/* sums[k] += x . column k for k < count, sums[count] += x . x, over the rows of one block. */
static void add_dots(const tile_t *tile, const vector_t *x, global const float *columns, uint count, uint rows, sums_t sums)
{
    for (uint first = 0; first <= count; first += BATCH) {
        const uint batch = min((uint)BATCH, count + 1 - first);

        for (uint i = 0; i < batch; ++i) {
            sums.scratch[i * PSGD_GROUP + tile->item] =
                first + i < count ? dot_column(tile, x, columns + (ulong)(first + i) * tile->matrix.length, rows)
                                  : dot_self(x);
        }
        add_items(tile, sums.scratch, batch);
        for (uint i = tile->item; i < batch; i += PSGD_GROUP) {
            float high = sums.high[first + i];
            float low  = sums.low[first + i];

            add_exactly(&high, &low, sums.scratch[i * PSGD_GROUP]);
            sums.high[first + i] = high;
            sums.low[first + i]  = low;
        }
        MEET();
    }
}

/* The sums of this tile go into its record, at `region` x columns floats. */
static void store_sums(const tile_t *tile, sums_t sums, uint count, global float *records, uint region)
{
    global float *to = records + tile->matrix.records + (ulong)tile->in_matrix * tile->record +
                       (ulong)region * tile->matrix.columns;

    for (uint k = tile->item; k < count; k += PSGD_GROUP) {
        to[k] = sums.high[k] + sums.low[k];
    }
}

/* sums = those of all tiles of the matrix, in order; high is the sum as rounded, low what the rounding left. */
static void add_records(const tile_t *tile, global const float *records, uint region, uint count, sums_t sums)
{
    global const float *from = records + tile->matrix.records + (ulong)region * tile->matrix.columns;

    MEET();
    for (uint k = tile->item * PSGD_VECTOR; k < count; k += PSGD_GROUP * PSGD_VECTOR) {
        global const float *next = from + k; /* a vector may reach into the next region; what it finds there is not used */
        vector_t            high = (vector_t)(0.0f);
        vector_t            low  = (vector_t)(0.0f);
        vector_t            sum;

        for (uint t = 0; t < tile->matrix.num_tiles; ++t, next += tile->record) {
            add_vectors_exactly(&high, &low, LOAD(next));
        }
        sum = high + low;
        STORE(sum, sums.high + k);
        STORE((high - sum) + low, sums.low + k);
    }
    MEET();
}

/* sum_{k < count} x_k^2 */
static float sum_of_squares(local const float *x, uint count)
{
    float sum = 0.0f;

    for (uint k = 0; k < count; ++k) {
        sum = fma(x[k], x[k], sum);
    }
    return sum;
}

/* ---- the column's largest magnitude, and its scale ---- */

/* Largest magnitudes as bits: integers are ordered as the floats are, and a device that flushes denormals sees them. */
kernel void orthogonalize_maxima(global const matrix_t *matrices, global const uint *matrix_of_tile,
                                 global const float *in, ulong in_offset, global uint *maxima, local uint *scratch)
{
    const tile_t  tile = find_tile(matrices, matrix_of_tile);
    global uint  *to   = maxima + tile.matrix.records + (ulong)tile.in_matrix * tile.record;

    for (uint k = 0; k < tile.matrix.columns; ++k) {
        words_t largest = (words_t)(0u);

        for (uint row = 0; row < tile.rows; row += BLOCK_ROWS) {
            global const float *column = in + in_offset + block_offset(&tile, row) + (ulong)k * tile.matrix.length;
            const uint          rows   = min((uint)BLOCK_ROWS, tile.rows - row);

            KEEP_LOOP
            for (int v = 0; v < SHARE; ++v) {
                largest = max(largest, AS_WORDS(load_vector(column, row_of(&tile, v), rows)) & 0x7FFFFFFFu);
            }
        }
#if PSGD_VECTOR == 16
        const uint8 by_8 = max(largest.lo, largest.hi);
        const uint4 by_4 = max(by_8.lo, by_8.hi);
        const uint2 by_2 = max(by_4.lo, by_4.hi);

        scratch[tile.item] = max(by_2.lo, by_2.hi);
#else
        scratch[tile.item] = largest;
#endif
        MEET();
        for (uint reach = PSGD_GROUP / 2; reach >= 1; reach /= 2) {
            if (tile.item < reach) {
                scratch[tile.item] = max(scratch[tile.item], scratch[tile.item + reach]);
            }
            MEET();
        }
        if (tile.item == 0) {
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
kernel void orthogonalize_scale(global const matrix_t *matrices, global const uint *matrix_of_tile,
                                global const float *in, ulong in_offset, global float *out, ulong out_offset,
                                global const uint *maxima, global float *records, ulong step, local uint *largest,
                                local float *high, local float *low, local float *scratch)
{
    const tile_t        tile = find_tile(matrices, matrix_of_tile);
    const sums_t        sums = {high, low, scratch};
    global const uint  *from = maxima + tile.matrix.records;
    vector_t            x[SHARE];

    for (uint k = tile.item; k < tile.matrix.columns; k += PSGD_GROUP) {
        uint of_all = 0;

        for (uint t = 0; t < tile.matrix.num_tiles; ++t) {
            of_all = max(of_all, from[(ulong)t * tile.record + k]);
        }
        largest[k] = of_all;
    }
    clear_sums(&tile, sums, 1);
    for (uint row = 0; row < tile.rows; row += BLOCK_ROWS) {
        const uint rows = min((uint)BLOCK_ROWS, tile.rows - row);

        for (uint k = 0; k < tile.matrix.columns; ++k) {
            const ulong at = block_offset(&tile, row) + (ulong)k * tile.matrix.length;

            if (largest[k] == 0) {
                random_block(&tile, step, k, 0, tile.first_row + row, rows, x);
            } else {
                const int shift = shift_of(largest[k]);

                load_block(&tile, in + in_offset + at, rows, x);
                KEEP_LOOP
                for (int v = 0; v < SHARE; ++v) {
                    x[v] = largest[k] < 0x7F800000u ? scale(x[v], shift) : (vector_t)(NAN);
                }
            }
            store_block(&tile, x, out + out_offset + at, rows);
            if (k == 0) {
                add_dots(&tile, x, out, 0, rows, sums);
            }
        }
    }
    store_sums(&tile, sums, 1, records, 0);
}

/* ---- one column j against the columns before it ---- */

/* |p_j|^2 of a matrix goes to vanishing[matrix] where the column may vanish, -1 where not. */
kernel void orthogonalize_first(global const matrix_t *matrices, global const uint *matrix_of_tile, global float *out,
                                ulong out_offset, global const float *records_in, global float *records_out,
                                global float *vanishing, uint j, ulong step, local float *coefficients,
                                local float *high, local float *low, local float *scratch)
{
    const tile_t tile  = find_tile(matrices, matrix_of_tile);
    const sums_t found = {coefficients, low, scratch};
    const sums_t sums  = {high, low, scratch};
    vector_t     x[SHARE];
    float        norm_squared;
    bool         suspicious;

    add_records(&tile, records_in, 0, j + 1, found);
    norm_squared = coefficients[j];
    suspicious   = norm_squared - sum_of_squares(coefficients, j) <= SUSPICIOUS * norm_squared;
    if ((tile.in_matrix == 0) && (tile.item == 0)) {
        vanishing[tile.index] = suspicious ? norm_squared : -1.0f;
    }
    clear_sums(&tile, sums, j + 1);
    for (uint row = 0; row < tile.rows; row += BLOCK_ROWS) {
        const uint    rows    = min((uint)BLOCK_ROWS, tile.rows - row);
        global float *columns = out + out_offset + block_offset(&tile, row);
        global float *column  = columns + (ulong)j * tile.matrix.length;

        load_block(&tile, column, rows, x);
        subtract_columns(&tile, coefficients, j, columns, rows, x);
        store_block(&tile, x, column, rows);
        add_dots(&tile, x, columns, j, rows, sums);
    }
    store_sums(&tile, sums, j + 1, records_out, 0);
    for (uint candidate = 0; suspicious && (candidate < CANDIDATES); ++candidate) {
        clear_sums(&tile, sums, j + 1);
        for (uint row = 0; row < tile.rows; row += BLOCK_ROWS) {
            const uint rows = min((uint)BLOCK_ROWS, tile.rows - row);

            random_block(&tile, step, j, candidate, tile.first_row + row, rows, x);
            add_dots(&tile, x, out + out_offset + block_offset(&tile, row), j, rows, sums);
        }
        store_sums(&tile, sums, j + 1, records_out, 1 + candidate);
    }
}

/* The candidate of which most is left beside the columns before it. */
static uint choose_candidate(const tile_t *tile, global const float *records, uint j, sums_t found)
{
    float most   = -1.0f;
    uint  chosen = 0;

    for (uint candidate = 0; candidate < CANDIDATES; ++candidate) {
        float norm_squared, left;

        add_records(tile, records, 1 + candidate, j + 1, found);
        norm_squared = found.high[j];
        left         = norm_squared - sum_of_squares(found.high, j);
        if (left > most * norm_squared) {
            most   = left / norm_squared;
            chosen = candidate;
        }
    }
    return chosen;
}

kernel void orthogonalize_again(global const matrix_t *matrices, global const uint *matrix_of_tile, global float *out,
                                ulong out_offset, global const float *records_in, global float *records_out,
                                global const float *vanishing, uint j, ulong step, local float *coefficients,
                                local float *high, local float *low, local float *scratch)
{
    const tile_t tile   = find_tile(matrices, matrix_of_tile);
    const sums_t found  = {coefficients, low, scratch};
    const sums_t sums   = {high, low, scratch};
    const float  before = vanishing[tile.index];
    vector_t     x[SHARE];
    uint         candidate = 0;
    bool         vanished;

    add_records(&tile, records_in, 0, j + 1, found);
    vanished = (before >= 0.0f) && (coefficients[j] <= TAU_SQUARED * before);
    if (vanished) {
        candidate = choose_candidate(&tile, records_in, j, found);
        add_records(&tile, records_in, 1 + candidate, j + 1, found);
    }
    clear_sums(&tile, sums, j + 1);
    for (uint row = 0; row < tile.rows; row += BLOCK_ROWS) {
        const uint    rows    = min((uint)BLOCK_ROWS, tile.rows - row);
        global float *columns = out + out_offset + block_offset(&tile, row);
        global float *column  = columns + (ulong)j * tile.matrix.length;

        if (vanished) {
            random_block(&tile, step, j, candidate, tile.first_row + row, rows, x);
        } else {
            load_block(&tile, column, rows, x);
        }
        subtract_columns(&tile, coefficients, j, columns, rows, x);
        store_block(&tile, x, column, rows);
        add_dots(&tile, x, columns, j, rows, sums);
    }
    store_sums(&tile, sums, j + 1, records_out, 0);
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

kernel void orthogonalize_finish(global const matrix_t *matrices, global const uint *matrix_of_tile, global float *out,
                                 ulong out_offset, global const float *records_in, global float *records_out, uint j,
                                 local float *coefficients, local float *high, local float *low, local float *scratch)
{
    const tile_t tile     = find_tile(matrices, matrix_of_tile);
    const sums_t found    = {coefficients, low, scratch};
    const sums_t sums     = {high, low, scratch};
    const bool   has_next = j + 1 < tile.matrix.columns;
    vector_t     x[SHARE];
    float        norm_squared, rest, root, root_rest;

    /* |p'' - sum d_k p^_k|^2 = |p''|^2 - sum d_k^2: accurate, since what is left to subtract is rounding noise. */
    add_records(&tile, records_in, 0, j + 1, found);
    norm_squared = coefficients[j];
    rest         = low[j] - sum_of_squares(coefficients, j);
    inverse_root(norm_squared, rest, &root, &root_rest);
    clear_sums(&tile, sums, j + 2);
    for (uint row = 0; row < tile.rows; row += BLOCK_ROWS) {
        const uint    rows    = min((uint)BLOCK_ROWS, tile.rows - row);
        global float *columns = out + out_offset + block_offset(&tile, row);
        global float *column  = columns + (ulong)j * tile.matrix.length;

        load_block(&tile, column, rows, x);
        subtract_columns(&tile, coefficients, j, columns, rows, x);
        KEEP_LOOP
        for (int v = 0; v < SHARE; ++v) {
            x[v] = fma(x[v], (vector_t)(root), x[v] * root_rest);
        }
        store_block(&tile, x, column, rows);
        if (has_next) {
            load_block(&tile, column + tile.matrix.length, rows, x);
            add_dots(&tile, x, columns, j + 1, rows, sums);
        }
    }
    if (has_next) {
        store_sums(&tile, sums, j + 2, records_out, 0);
    }
}

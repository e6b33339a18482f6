/* Gradients as they are given, into single precision copies that passes over matrices can walk through, and back: 16 bits become
 * 32, and the matrices of a tensor, wherever its strides put them, row-major.
 *
 * An item is one matrix, or a whole tensor of 1 row; layouts by scale_index. In a launch's places the given gradient lies where
 * gradients do, its offset in units of its own elements, and the copy where error memories do (cl/ragged.clh). */
#include "ragged.clh"

#define PSGD_F32  0
#define PSGD_F16  1
#define PSGD_BF16 2

/* Element (i, j) of an item is number i row_stride + j col_stride of what is given. As in src/ops/arrange.c. */
typedef struct layout {
    ulong row_stride, col_stride;
    uint  dtype;
    uint  unused;
} layout_t;

static float read_f32(global const float *mem, ulong at)
{
    return mem[at];
}

static float read_f16(global const float *mem, ulong at)
{
    return vload_half(at, (global const half *)mem);
}

static float read_bf16(global const float *mem, ulong at)
{
    return as_float((uint)((global const ushort *)mem)[at] << 16);
}

static void write_f32(float x, global float *mem, ulong at)
{
    mem[at] = x;
}

static void write_f16(float x, global float *mem, ulong at)
{
    vstore_half_rte(x, at, (global half *)mem);
}

/* To nearest even: half of what is cut off is added, and a little less where the last bit that stays is 0. A NaN stays one. */
static void write_bf16(float x, global float *mem, ulong at)
{
    const uint bits    = as_uint(x);
    const uint rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);

    ((global ushort *)mem)[at] = (ushort)((isnan(x) ? bits | 0x400000u : rounded) >> 16);
}

/* do_(where in the copy, where in the given gradient) for all elements of the tile; neighbouring work-items, and successive rounds of
 * one, at neighbours of the given gradient. The first case is a loop that compilers turn into vectors. */
#define FOR_ELEMENTS(do_) \
    if (layout.col_stride == 1) { \
        for (ulong i = tile.row; i < (ulong)tile.row + tile.rows; ++i) { \
            const ulong          from = i * layout.row_stride; \
            global float *const  row  = copy + i * item.cols; \
            for (ulong j = tile.col + get_local_id(0); j < (ulong)tile.col + tile.cols; j += get_local_size(0)) { \
                do_(row[j], from + j); \
            } \
        } \
    } else if (layout.row_stride < layout.col_stride) { \
        for (ulong j = tile.col; j < (ulong)tile.col + tile.cols; ++j) { \
            for (ulong i = tile.row + get_local_id(0); i < (ulong)tile.row + tile.rows; i += get_local_size(0)) { \
                do_(copy[i * item.cols + j], i * layout.row_stride + j * layout.col_stride); \
            } \
        } \
    } else { \
        for (ulong i = tile.row; i < (ulong)tile.row + tile.rows; ++i) { \
            for (ulong j = tile.col + get_local_id(0); j < (ulong)tile.col + tile.cols; j += get_local_size(0)) { \
                do_(copy[i * item.cols + j], i * layout.row_stride + j * layout.col_stride); \
            } \
        } \
    }

#define TAKE_F32(copied_, at_)  (copied_) = read_f32(given, at_)
#define TAKE_F16(copied_, at_)  (copied_) = read_f16(given, at_)
#define TAKE_BF16(copied_, at_) (copied_) = read_bf16(given, at_)
#define GIVE_F32(copied_, at_)  write_f32(copied_, given, at_)
#define GIVE_F16(copied_, at_)  write_f16(copied_, given, at_)
#define GIVE_BF16(copied_, at_) write_bf16(copied_, given, at_)

/* `given` begins at the item's element (0, 0). */
#define FIND_GIVEN() \
    const layout_t      layout = layouts[item.scale_index]; \
    global float *const copy   = error; \
    global float *const given  = layout.dtype == PSGD_F32 \
                                     ? grad \
                                     : (global float *)(global void *)((global ushort *)grad_mem + place.grad_offset)

kernel void arrange_in(PSGD_RAGGED_PARAMS, global const layout_t *layouts)
{
    PSGD_FIND_TILE();
    FIND_GIVEN();

    if (layout.dtype == PSGD_F32) {
        FOR_ELEMENTS(TAKE_F32);
    } else if (layout.dtype == PSGD_F16) {
        FOR_ELEMENTS(TAKE_F16);
    } else {
        FOR_ELEMENTS(TAKE_BF16);
    }
}

kernel void arrange_out(PSGD_RAGGED_PARAMS, global const layout_t *layouts)
{
    PSGD_FIND_TILE();
    FIND_GIVEN();

    if (layout.dtype == PSGD_F32) {
        FOR_ELEMENTS(GIVE_F32);
    } else if (layout.dtype == PSGD_F16) {
        FOR_ELEMENTS(GIVE_F16);
    } else {
        FOR_ELEMENTS(GIVE_BF16);
    }
}

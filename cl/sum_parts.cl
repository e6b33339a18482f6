/* The second sum: what the tiles of an item have added up each for itself, added up in the order of the tiles. */

#ifndef PSGD_VECTORS
#define PSGD_VECTORS 1
#endif

/* A piece of one result; as in src/ops/sum_parts.c. */
typedef struct piece {
    ulong out_offset;  /* elements */
    ulong part_offset; /* of the first part */
    ulong stride;      /* from one part to the next */
    uint  count;       /* elements of the piece */
    uint  num_parts;
} piece_t;

/* A work-group a piece. */
kernel void sum_parts(global const piece_t *pieces, ulong first_piece, global const float *parts, global float *out_mem,
                      ulong out_offset)
{
    const piece_t       piece = pieces[first_piece + get_group_id(0)];
    global const float *from  = parts + piece.part_offset;
    global float       *out   = out_mem + out_offset + piece.out_offset;
    uint                i     = (uint)get_local_id(0);

#if PSGD_VECTORS
    for (; i + 16 <= piece.count; i += 16) {
        float16 sum = vload16(0, from + i);

        for (uint part = 1; part < piece.num_parts; ++part) {
            sum += vload16(0, from + part * piece.stride + i);
        }
        vstore16(sum, 0, out + i);
    }
#endif
    for (; i < piece.count; i += (uint)get_local_size(0)) {
        float sum = from[i];

        for (uint part = 1; part < piece.num_parts; ++part) {
            sum += from[part * piece.stride + i];
        }
        out[i] = sum;
    }
}

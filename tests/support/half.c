#include "support/half.h"

#include <math.h>
#include <stdbool.h>

/* How a number of 16 bits is divided. */
typedef struct format {
    int fraction_bits;
    int smallest_exponent; /* of normal numbers */
    int largest_exponent;
} format_t;

static format_t format_of(psgd_dtype_t dtype)
{
    return dtype == PSGD_F16 ? (format_t){10, -14, 15} : (format_t){7, -126, 127};
}

uint16_t half_encode(psgd_dtype_t dtype, float x)
{
    const format_t format   = format_of(dtype);
    const uint32_t sign     = signbit(x) ? 0x8000 : 0;
    const uint32_t infinity = (uint32_t)(format.largest_exponent - format.smallest_exponent + 2)
                              << format.fraction_bits;
    int    exponent;
    double units;

    if (x == 0.0f) {
        return (uint16_t)sign;
    }
    if (isinf(x)) {
        return (uint16_t)(sign | infinity);
    }
    exponent = ilogb((double)x);
    exponent = exponent < format.smallest_exponent ? format.smallest_exponent : exponent;
    units    = nearbyint(ldexp(fabs((double)x), format.fraction_bits - exponent)); /* to even, by default */
    if (ldexp(units, exponent - format.fraction_bits) >= ldexp(1.0, format.largest_exponent + 1)) {
        return (uint16_t)(sign | infinity);
    }
    /* A number of 2^fraction_bits units or more has its leading one in the exponent's field; a carry goes there too. */
    return (uint16_t)(sign + ((uint32_t)(exponent - format.smallest_exponent) << format.fraction_bits) +
                      (uint32_t)units);
}

float half_decode(psgd_dtype_t dtype, uint16_t half)
{
    const format_t format   = format_of(dtype);
    const int      field    = (half & 0x7FFF) >> format.fraction_bits;
    const int      fraction = half & ((1 << format.fraction_bits) - 1);
    double         size;

    if (field == format.largest_exponent - format.smallest_exponent + 2) {
        size = fraction == 0 ? (double)INFINITY : (double)NAN;
    } else if (field == 0) {
        size = ldexp(fraction, format.smallest_exponent - format.fraction_bits);
    } else {
        size =
            ldexp(fraction + (1 << format.fraction_bits), field - 1 + format.smallest_exponent - format.fraction_bits);
    }
    return (float)((half & 0x8000) != 0 ? -size : size);
}

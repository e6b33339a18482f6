/* The sum over the workers of factors that leave each of them in 16 bits.
 *
 * Every worker owns a segment of the payload. In an all-to-all each sends its part of a segment to the owner, factors in 16 bits, what
 * is not a factor and the vote in single precision; the owner adds up in the order of the workers, and an all-gather brings
 * the sums to all, factors in single precision or in 16 bits. Whatever a worker reads was computed once and copied: the same bits
 * everywhere.
 *
 * Half precision reaches from 2^-24 to 65504. Each matrix's part of a segment is scaled by a power of two of its own, so that its largest
 * element comes to [2^14, 2^15); the exponent travels in front, a byte a matrix. Nothing can overflow that did not in single
 * precision, and nothing needs to be agreed on beforehand. bfloat16 does without.
 *
 * Nothing is lost by rounding where the error memory takes off what was sent: `sent` holds that. Where the sums come back in 16 bits, the
 * owner's part of `sent` also has what rounding took off its sums, so that the workers' `sent` add up to what all have read. */
#ifndef PSGD_CORE_NARROW_H
#define PSGD_CORE_NARROW_H

#include "base/clock.h"
#include "base/log.h"
#include "plan/plan.h"

typedef struct psgd_narrow psgd_narrow_t;

/* Which factors a payload begins with: all P or all Q of the plan. */
typedef enum psgd_factor_kind { PSGD_FACTOR_P, PSGD_FACTOR_Q } psgd_factor_kind_t;

/* For payloads of either factor and up to rest_elems other floats. `plan` outlives it. PSGD_ERR_UNSUPPORTED where the
 * communicator lacks all_to_all or all_gather. */
psgd_status_t psgd_narrow_create(const psgd_plan_t *plan, psgd_dtype_t dtype, size_t rest_elems, size_t vote_elems,
                                 const psgd_comm_t *comm, psgd_narrow_t **narrow_p);
void          psgd_narrow_destroy(psgd_narrow_t *narrow);

/* Starts: payload = [ factors | rest_elems floats ]. Writes `sent`. */
psgd_status_t psgd_narrow_begin(psgd_narrow_t *narrow, psgd_factor_kind_t kind, bool comes_back_narrow,
                                const float *payload, size_t rest_elems, const float *vote, const psgd_comm_t *comm,
                                psgd_request_t **request_p);

/* After that request is complete: adds up, and starts to bring the sums to all. */
psgd_status_t psgd_narrow_continue(psgd_narrow_t *narrow, const psgd_comm_t *comm, psgd_request_t **request_p);

/* After that one is: payload and vote become the sums. */
void psgd_narrow_end(psgd_narrow_t *narrow, float *payload, float *vote);

/* Elements of the factors of a kind. */
size_t psgd_narrow_factor_elems(const psgd_narrow_t *narrow, psgd_factor_kind_t kind);

/* The factors of this worker as they count for its error memory. */
const float *psgd_narrow_sent(const psgd_narrow_t *narrow);

/* Half of what it sends and receives in both collectives: an all-reduce of a vector in single precision counts as the vector. */
uint64_t psgd_narrow_bytes(const psgd_narrow_t *narrow);

#endif

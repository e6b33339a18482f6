/* Lets the n-th allocation, OpenCL call or file operation of one thread fail.
 *
 * Allocations and file operations are those of the code that the executable is linked from (--wrap, as in count_allocations.h); OpenCL
 * calls go through fault_layer.c. Only what happens while a thread is armed counts. */
#ifndef PSGD_TESTS_FAULTS_INJECTOR_H
#define PSGD_TESTS_FAULTS_INJECTOR_H

#include <stdbool.h>
#include <stdint.h>

typedef enum fault_kind { FAULT_NONE, FAULT_ALLOCATION, FAULT_FILE, FAULT_OPENCL, NUM_FAULT_KINDS } fault_kind_t;

enum { FAULT_KILLS = -1 }; /* the process, before a file operation */

typedef struct fault {
    fault_kind_t kind;
    int64_t      number;   /* the call that fails, from 1 */
    int          code;     /* what it fails with: an errno, FAULT_KILLS, an OpenCL error; not for allocations */
    bool         persists; /* and all behind it */
} fault_t;

/* Finds the layer. Returns false where the process has none. */
bool injector_open(void);

/* Counts anew, from nothing. */
void injector_set(const fault_t *fault);

/* The calling thread's calls count, until it says otherwise. */
void injector_arm(void);
void injector_disarm(void);

/* No more faults from here on. */
void injector_stop(void);

/* How many calls of the fault's kind were seen; how many failed; which was the first of these ("calloc", "clFlush"). */
uint64_t    injector_calls(void);
uint64_t    injector_fired(void);
const char *injector_name(void);

/* What is alive: allocations of the linked code, and references to OpenCL objects. */
int64_t injector_live_allocations(void);
int64_t injector_live_objects(void);

#endif

/* An OpenCL layer (cl_loader_layers; ocl-icd: OPENCL_LAYERS=libpsgd_fault_layer.so) that lets calls fail as a driver would that has run
 * out of something, CLBlast's calls included, and counts the objects that live. The process finds psgd_fault_plan by dlsym(). */
#ifndef PSGD_TESTS_FAULTS_FAULT_LAYER_H
#define PSGD_TESTS_FAULTS_FAULT_LAYER_H

#include <stdatomic.h>
#include <stdint.h>

typedef enum fault_object {
    OBJECT_CONTEXT,
    OBJECT_QUEUE,
    OBJECT_MEM,
    OBJECT_PROGRAM,
    OBJECT_KERNEL,
    OBJECT_EVENT,
    NUM_OBJECTS
} fault_object_t;

typedef struct fault_plan {
    _Atomic uint64_t    victim;    /* pthread_self() of the thread whose calls fail; 0: nobody's */
    _Atomic int64_t     countdown; /* of the victim's calls: the one that brings it to 0 fails */
    _Atomic int         code;      /* what it returns */
    _Atomic int         persists;  /* 1: and all behind it */
    _Atomic uint64_t    calls;     /* of the victim */
    _Atomic uint64_t    fired;
    const char *_Atomic name;              /* of the call that failed first; NULL: none did */
    _Atomic int64_t     live[NUM_OBJECTS]; /* references taken less references given back, by all threads */
} fault_plan_t;

#endif

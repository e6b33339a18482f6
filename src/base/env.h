/* The environment variables that the library reads: one row each, for the code, --env and the documentation. */
#ifndef PSGD_BASE_ENV_H
#define PSGD_BASE_ENV_H

#define PSGD_ENV_TABLE(ROW) \
    ROW(LOG, "PSGD_LOG", \
        "what to log to stderr where the program sets no callback: off, error, warn (default), info, debug") \
    ROW(DEVICE, "PSGD_DEVICE", \
        "the device where the program names none: an index, P:D, gpu, cpu, accelerator, or a part of its name") \
    ROW(TRACE, "PSGD_TRACE", \
        "a file for a trace of every step, for Perfetto or Chrome: %w is the worker's number, %p the process's") \
    ROW(KERNEL_DIR, "PSGD_KERNEL_DIR", \
        "a directory to read the OpenCL kernels from, in place of those built in; for development") \
    ROW(NODE, "PSGD_NODE", \
        "what the node of this MPI process is called, where the program does not say and workers are combined by " \
        "node")

typedef enum psgd_env {
#define PSGD_ENV_ROW(id_, name_, meaning_) PSGD_ENV_##id_,
    PSGD_ENV_TABLE(PSGD_ENV_ROW)
#undef PSGD_ENV_ROW
    PSGD_NUM_ENV
} psgd_env_t;

/* The value, or NULL where it is unset or empty; NULL too in a program that runs with raised privileges. */
const char *psgd_env_value(psgd_env_t variable);

#endif

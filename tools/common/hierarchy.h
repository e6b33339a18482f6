/* How messages go: from each process to all, or by node first. */
#ifndef PSGD_TOOLS_HIERARCHY_H
#define PSGD_TOOLS_HIERARCHY_H

typedef enum hierarchy { HIERARCHY_FLAT, HIERARCHY_NODES } hierarchy_t;

/* In their order, NULL behind them: for a table of options. */
extern const char *const hierarchy_words[];

#endif

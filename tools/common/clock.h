/* The wall clock. */
#ifndef PSGD_TOOLS_CLOCK_H
#define PSGD_TOOLS_CLOCK_H

/* Seconds from an arbitrary start. */
double clock_now(void);

#endif

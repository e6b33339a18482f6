/* Telling a user who waits why. */
#ifndef PSGD_TOOLS_NOTICE_H
#define PSGD_TOOLS_NOTICE_H

/* A notice that is printed to stderr if it takes longer than some seconds: begin, do what may take long, end. */
typedef struct notice notice_t;

/* `text` stays valid until notice_end(). NULL where no thread can be made: then there is no notice. */
notice_t *notice_begin(double seconds, const char *text);
void      notice_end(notice_t *notice); /* NULL is fine */

#endif

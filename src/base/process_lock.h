/* The one lock of the process, around what is not safe to call from several threads, whichever reducers they serve: CLBlast
 * (its cache races before 1.6.1), and the first call of the OpenCL loader (ocl-icd shows a second thread an unfinished list of
 * platforms). It is the library's only global. Not recursive. */
#ifndef PSGD_BASE_PROCESS_LOCK_H
#define PSGD_BASE_PROCESS_LOCK_H

void psgd_process_lock(void);
void psgd_process_unlock(void);

#endif

/* An MPI library that does not let every thread call it: loaded before the real one (LD_PRELOAD), it grants MPI_THREAD_FUNNELED at
 * most. */
#include <mpi.h>

int MPI_Init_thread(int *argc, char ***argv, int wanted, int *provided)
{
    (void)wanted;
    return PMPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, provided);
}

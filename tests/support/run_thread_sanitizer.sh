# sh run_thread_sanitizer.sh PROGRAM [ARGUMENT...]
#
# Runs a Check executable that was built with ThreadSanitizer. The runtime maps memory at fixed places and gives up where the
# kernel has put something there ("unexpected memory mapping": GCC before 14, where addresses are randomized by more than 28
# bits), so addresses are not randomized, where the machine lets us say so. Where it starts in neither way, the test is skipped.
if setarch -R true 2>/dev/null; then
    set -- setarch -R "$@"
fi
if CK_RUN_SUITE=none "$@" 2>&1 | grep "FATAL: ThreadSanitizer"; then
    echo "ThreadSanitizer does not start on this machine" >&2
    exit 77
fi
exec "$@"

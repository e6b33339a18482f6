#define _POSIX_C_SOURCE 200809L
#include "options.h"

#include <getopt.h>
#include <stdarg.h>

enum { OPTION_JSON = 256, OPTION_SELFTEST, OPTION_ENV };

static const char HELP[] =
    "Usage: psgd-devicequery [OPTION]...\n"
    "\n"
    "Shows this machine's OpenCL devices, the limits that matter to libpsgd, and whether libpsgd can run on them.\n"
    "\n"
    "  -l, --list           one line a device\n"
    "  -d, --device WHICH   one device alone: its index (3), platform and device (1:0), gpu, cpu, accelerator, or a "
    "part\n"
    "                       of its name, vendor or platform (radeon)\n"
    "      --selftest       runs the known answers that equal bits on every worker rest on, and a compressed step "
    "against\n"
    "                       a double precision reference, on the device of -d, else on the one that libpsgd would "
    "choose\n"
    "      --json           the same as one JSON document on stdout (\"schema\": 1)\n"
    "      --env            the environment variables that libpsgd reads, with their values\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version of libpsgd\n"
    "\n"
    "Exit status: 0 a device can be used; 1 none can; 2 wrong usage; 3 the self-test failed.\n";

static const struct option LONG_OPTIONS[] = {{"list", no_argument, NULL, 'l'},
                                             {"device", required_argument, NULL, 'd'},
                                             {"selftest", no_argument, NULL, OPTION_SELFTEST},
                                             {"json", no_argument, NULL, OPTION_JSON},
                                             {"env", no_argument, NULL, OPTION_ENV},
                                             {"help", no_argument, NULL, 'h'},
                                             {"version", no_argument, NULL, 'V'},
                                             {NULL, 0, NULL, 0}};

void options_print_help(FILE *out)
{
    fputs(HELP, out);
}

/* Says what is wrong and returns false, for `return complain(...)`. */
static bool complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool complain(const char *format, ...)
{
    va_list arguments;

    fputs("psgd-devicequery: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("\nTry 'psgd-devicequery --help'.\n", stderr);
    return false;
}

/* Takes over one option; what getopt does not know it has complained about already. */
static bool take(int option, options_t *options)
{
    switch (option) {
    case 'l': options->mode = options->mode == MODE_REPORT ? MODE_LIST : options->mode; return true;
    case 'd': options->which = optarg; return true;
    case OPTION_SELFTEST: options->is_selftest = true; return true;
    case OPTION_JSON: options->is_json = true; return true;
    case OPTION_ENV: options->mode = MODE_ENVIRONMENT; return true;
    case 'h': options->mode = MODE_HELP; return true;
    case 'V': options->mode = MODE_VERSION; return true;
    default: fputs("Try 'psgd-devicequery --help'.\n", stderr); return false;
    }
}

static bool is_asked_alone(int option)
{
    return (option == 'h') || (option == 'V');
}

bool options_read(int argc, char **argv, options_t *options_p)
{
    options_t options = {MODE_REPORT, NULL, false, false};
    bool      is_list = false;
    int       option;

    while ((option = getopt_long(argc, argv, "ld:hV", LONG_OPTIONS, NULL)) != -1) {
        if (!take(option, &options)) {
            return false;
        }
        is_list = is_list || (option == 'l');
        if (is_asked_alone(option)) {
            *options_p = options;
            return true;
        }
    }
    if (optind < argc) {
        return complain("'%s' is not an option; a device is chosen by -d", argv[optind]);
    }
    if ((options.which != NULL) && (options.which[0] == '\0')) {
        return complain("-d needs the words that choose a device, and got none");
    }
    if ((options.mode == MODE_ENVIRONMENT) && (is_list || options.is_selftest || (options.which != NULL))) {
        return complain("--env says nothing of devices: it goes with --json alone");
    }
    *options_p = options;
    return true;
}

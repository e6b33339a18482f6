#include "calibration.h"

#include <stddef.h>
#include <string.h>

#include "json.h"
#include "json_read.h"

const measured_rank_t *calibration_find(const calibration_t *calibration, uint32_t rank)
{
    for (size_t i = 0; i < calibration->num_ranks; ++i) {
        if (calibration->ranks[i].rank == rank) {
            return &calibration->ranks[i];
        }
    }
    return NULL;
}

/* ---- the keys ---- */

typedef enum field_kind { FIELD_COUNT, FIELD_COUNT_32, FIELD_SWITCH, FIELD_REAL } field_kind_t;

typedef struct field {
    const char  *key;
    field_kind_t kind;
    size_t       offset;
    double       unit; /* the file's in the struct's: 1e-3 for milliseconds in seconds */
} field_t;

#define FIELD(key_, kind_, member_, unit_) \
    { \
        key_, kind_, offsetof(calibration_t, member_), unit_ \
    }

static const field_t fields[] = {
    FIELD("elems", FIELD_COUNT, elems, 1.0),
    FIELD("workers", FIELD_COUNT_32, workers, 1.0),
    FIELD("has_device", FIELD_SWITCH, has_device, 1.0),
    FIELD("shares_memory", FIELD_SWITCH, shares_memory, 1.0),
    FIELD("finite", FIELD_SWITCH, is_finite, 1.0),
    FIELD("device_gbs", FIELD_REAL, device_gbs, 1.0),
    FIELD("launch_us", FIELD_REAL, launch_us, 1.0),
    FIELD("staging_gbs", FIELD_REAL, staging_gbs, 1.0),
    FIELD("staging_latency_us", FIELD_REAL, staging_latency_us, 1.0),
    FIELD("host_gbs", FIELD_REAL, host_gbs, 1.0),
    FIELD("has_link", FIELD_SWITCH, has_link, 1.0),
    FIELD("in_memory", FIELD_SWITCH, in_memory, 1.0),
    FIELD("link_latency_us", FIELD_REAL, network.latency_s, 1e-6),
    FIELD("link_wire_ns_per_byte", FIELD_REAL, network.wire_s_per_byte, 1e-9),
    FIELD("link_host_ns_per_byte", FIELD_REAL, network.host_s_per_byte, 1e-9),
};

/* Lists: of a rank each, or of a point of the link each. */
#define RANK_FIELD(key_, kind_, member_, unit_) \
    { \
        key_, kind_, offsetof(measured_rank_t, member_), unit_ \
    }
#define POINT_FIELD(key_, member_, unit_) \
    { \
        key_, FIELD_REAL, offsetof(cost_point_t, member_), unit_ \
    }

static const field_t rank_fields[] = {
    RANK_FIELD("ranks", FIELD_COUNT_32, rank, 1.0),
    RANK_FIELD("compute_p_ms", FIELD_REAL, local.compute_p_s, 1e-3),
    RANK_FIELD("compute_q_ms", FIELD_REAL, local.compute_q_s, 1e-3),
    RANK_FIELD("decompress_ms", FIELD_REAL, local.decompress_s, 1e-3),
    RANK_FIELD("ortho_ms", FIELD_REAL, local.ortho_s, 1e-3),
    RANK_FIELD("rest_ms", FIELD_REAL, local.host_s, 1e-3),
    RANK_FIELD("measured_elems", FIELD_COUNT, traffic.elems, 1.0),
    RANK_FIELD("measured_matrix_elems", FIELD_COUNT, traffic.matrix_elems, 1.0),
    RANK_FIELD("measured_p_elems", FIELD_COUNT, traffic.p_elems, 1.0),
    RANK_FIELD("measured_q_elems", FIELD_COUNT, traffic.q_elems, 1.0),
    RANK_FIELD("measured_small_elems", FIELD_COUNT, traffic.small_elems, 1.0),
    RANK_FIELD("measured_large_elems", FIELD_COUNT, traffic.large_elems, 1.0),
};

static const field_t point_fields[] = {
    POINT_FIELD("link_bytes", bytes, 1.0), /* of the hosts' part in memory, else of the wire's */
    POINT_FIELD("link_ns_per_byte", s_per_byte, 1e-9),
};

enum {
    NUM_FIELDS       = sizeof(fields) / sizeof(fields[0]),
    NUM_RANK_FIELDS  = sizeof(rank_fields) / sizeof(rank_fields[0]),
    NUM_POINT_FIELDS = sizeof(point_fields) / sizeof(point_fields[0])
};

/* What the struct holds, in the file's unit. */
static double get(const field_t *field, const void *object)
{
    const char *at = (const char *)object + field->offset;
    double      real;
    uint64_t    count;
    uint32_t    count_32;
    bool        is_on;

    switch (field->kind) {
    case FIELD_COUNT: memcpy(&count, at, sizeof(count)); return (double)count;
    case FIELD_COUNT_32: memcpy(&count_32, at, sizeof(count_32)); return count_32;
    case FIELD_SWITCH: memcpy(&is_on, at, sizeof(is_on)); return is_on ? 1.0 : 0.0;
    case FIELD_REAL: break;
    }
    memcpy(&real, at, sizeof(real));
    return real / field->unit;
}

static void set(const field_t *field, void *object, double number)
{
    char    *at       = (char *)object + field->offset;
    double   real     = number * field->unit;
    uint64_t count    = (uint64_t)number;
    uint32_t count_32 = (uint32_t)number;
    bool     is_on    = number != 0.0;

    switch (field->kind) {
    case FIELD_COUNT: memcpy(at, &count, sizeof(count)); break;
    case FIELD_COUNT_32: memcpy(at, &count_32, sizeof(count_32)); break;
    case FIELD_SWITCH: memcpy(at, &is_on, sizeof(is_on)); break;
    case FIELD_REAL: memcpy(at, &real, sizeof(real)); break;
    }
}

/* ---- writing ---- */

/* The curve that was measured. */
static const cost_curve_t *curve_of(const calibration_t *c)
{
    return c->in_memory ? &c->network.host : &c->network.wire;
}

static void write_number(json_t *json, const char *key, const field_t *field, const void *object)
{
    const double number = get(field, object);

    if (field->kind == FIELD_SWITCH) {
        json_bool(json, key, number != 0.0);
    } else if (field->kind == FIELD_REAL) {
        json_real(json, key, number);
    } else {
        json_integer(json, key, (uint64_t)number);
    }
}

static void write_lists(json_t *json, const field_t *list_fields, size_t num_fields, const void *items,
                        size_t item_bytes, size_t count)
{
    for (size_t f = 0; f < num_fields; ++f) {
        json_begin_array(json, list_fields[f].key);
        for (size_t i = 0; i < count; ++i) {
            write_number(json, NULL, &list_fields[f], (const char *)items + i * item_bytes);
        }
        json_end_array(json);
    }
}

void calibration_write(const void *user, FILE *file)
{
    const calibration_t *c    = user;
    json_t               json = {file, 0, true};

    json_begin_object(&json, NULL);
    json_integer(&json, "schema", 1);
    json_text(&json, "tool", "psgd-advise");
    json_text(&json, "version", psgd_version_string());
    json_text(&json, "model", c->model);
    json_text(&json, "device", c->device);
    for (size_t f = 0; f < NUM_FIELDS; ++f) {
        write_number(&json, fields[f].key, &fields[f], c);
    }
    write_lists(&json, rank_fields, NUM_RANK_FIELDS, c->ranks, sizeof(c->ranks[0]), c->num_ranks);
    write_lists(&json, point_fields, NUM_POINT_FIELDS, curve_of(c)->points, sizeof(cost_point_t), curve_of(c)->count);
    json_end_object(&json);
}

/* ---- reading ---- */

typedef struct reading {
    const char    *path;
    calibration_t *calibration;
    cost_curve_t   curve;
    bool           has_schema;
    size_t         rank_counts[NUM_RANK_FIELDS]; /* of each list */
    size_t         point_counts[NUM_POINT_FIELDS];
} reading_t;

static tool_status_t check_numbers(const reading_t *reading, const json_entry_t *entry, bool is_list, size_t most)
{
    if (entry->kind != JSON_NUMBERS || entry->is_list != is_list || entry->count > most) {
        return tool_fail(TOOL_FAILED, "%s: %s must be %s", reading->path, entry->key,
                         is_list ? "a list of numbers, and not so long" : "a number");
    }
    for (size_t i = 0; i < entry->count; ++i) {
        if (!(entry->numbers[i] >= 0.0 && entry->numbers[i] <= 1e18)) {
            return tool_fail(TOOL_FAILED, "%s: %s is %g: it cannot be negative, or so large", reading->path, entry->key,
                             entry->numbers[i]);
        }
    }
    return TOOL_OK;
}

/* Takes a list whose key is among these; *is_taken_p: whether it was. */
static tool_status_t take_list(const reading_t *reading, const json_entry_t *entry, const field_t *list_fields,
                               size_t num_fields, void *items, size_t item_bytes, size_t capacity, size_t *counts,
                               bool *is_taken_p)
{
    for (size_t f = 0; f < num_fields; ++f) {
        if (strcmp(list_fields[f].key, entry->key) == 0) {
            tool_status_t status = check_numbers(reading, entry, true, capacity);

            for (size_t i = 0; i < entry->count && status == TOOL_OK; ++i) {
                set(&list_fields[f], (char *)items + i * item_bytes, entry->numbers[i]);
            }
            counts[f]   = entry->count;
            *is_taken_p = true;
            return status;
        }
    }
    return TOOL_OK;
}

static tool_status_t take_number(reading_t *reading, const json_entry_t *entry)
{
    tool_status_t status = TOOL_OK;

    for (size_t f = 0; f < NUM_FIELDS; ++f) {
        if (strcmp(fields[f].key, entry->key) == 0) {
            status = check_numbers(reading, entry, false, 1);
            if (status == TOOL_OK) {
                set(&fields[f], reading->calibration, entry->numbers[0]);
            }
            return status;
        }
    }
    if (strcmp(entry->key, "schema") == 0) {
        reading->has_schema = entry->count == 1 && entry->numbers[0] == 1.0;
    }
    return TOOL_OK; /* keys may be added */
}

static tool_status_t take(const json_entry_t *entry, void *user)
{
    reading_t     *reading  = user;
    calibration_t *c        = reading->calibration;
    bool           is_taken = false;
    tool_status_t  status;

    if (entry->kind == JSON_TEXT) {
        if (strcmp(entry->key, "model") == 0) {
            memcpy(c->model, entry->text, sizeof(c->model));
        } else if (strcmp(entry->key, "device") == 0) {
            memcpy(c->device, entry->text, sizeof(c->device));
        }
        return TOOL_OK;
    }
    status = take_list(reading, entry, rank_fields, NUM_RANK_FIELDS, c->ranks, sizeof(c->ranks[0]), OPTIONS_MAX_RANKS,
                       reading->rank_counts, &is_taken);
    if (status == TOOL_OK && !is_taken) {
        status = take_list(reading, entry, point_fields, NUM_POINT_FIELDS, reading->curve.points, sizeof(cost_point_t),
                           PREDICT_MAX_POINTS, reading->point_counts, &is_taken);
    }
    return status == TOOL_OK && !is_taken ? take_number(reading, entry) : status;
}

static bool are_equal(const size_t *counts, size_t num)
{
    for (size_t i = 1; i < num; ++i) {
        if (counts[i] != counts[0]) {
            return false;
        }
    }
    return true;
}

static tool_status_t check_whole(const reading_t *reading)
{
    const calibration_t *c = reading->calibration;

    if (!reading->has_schema || (!c->has_device && !c->has_link)) {
        return tool_fail(TOOL_FAILED, "%s is no calibration: psgd-advise --save-calibration writes one", reading->path);
    }
    if (!are_equal(reading->rank_counts, NUM_RANK_FIELDS) || !are_equal(reading->point_counts, NUM_POINT_FIELDS)) {
        return tool_fail(TOOL_FAILED, "%s: lists that belong together are not equally long", reading->path);
    }
    if (c->has_device && (!(c->device_gbs > 0.0) || !(c->staging_gbs > 0.0) || c->num_ranks == 0)) {
        return tool_fail(TOOL_FAILED, "%s: device_gbs and staging_gbs must be above 0, and there must be a rank",
                         reading->path);
    }
    if (c->has_link && reading->curve.count == 0) {
        return tool_fail(TOOL_FAILED, "%s: link_bytes is empty", reading->path);
    }
    for (size_t i = 0; i < reading->curve.count; ++i) {
        if (!(reading->curve.points[i].bytes > (i > 0 ? reading->curve.points[i - 1].bytes : 0.0))) {
            return tool_fail(TOOL_FAILED, "%s: link_bytes must grow", reading->path);
        }
    }
    return TOOL_OK;
}

tool_status_t calibration_read(const char *path, calibration_t *calibration_p)
{
    calibration_t calibration = {.has_device = false};
    reading_t     reading     = {.path = path, .calibration = &calibration};
    tool_status_t status      = json_read(path, take, &reading);

    if (status == TOOL_OK) {
        calibration.num_ranks = reading.rank_counts[0];
        reading.curve.count   = reading.point_counts[0];
        status                = check_whole(&reading);
    }
    if (status == TOOL_OK) {
        *(calibration.in_memory ? &calibration.network.host : &calibration.network.wire) = reading.curve;
        *calibration_p                                                                   = calibration;
    }
    return status;
}

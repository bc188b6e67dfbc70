/* Quantities as people write them: a number and its unit, "1.5GiB", "100Mbit/s", "0.3ms", "17GFLOPS". A number without
 * a unit is refused (but 0), because it would be read a thousand times too small by somebody. */
#ifndef DAEMON_FLEET_QUANTITY_H
#define DAEMON_FLEET_QUANTITY_H

#include "daemon/yaml.h"

enum quantity {
    QUANTITY_SIZE,  /* bytes */
    QUANTITY_RATE,  /* bytes per second; "unlimited" is INFINITY, "none" is 0 */
    QUANTITY_TIME,  /* seconds */
    QUANTITY_SPEED, /* floating-point operations per second */
};

#define QUANTITY_TEXT_MAX 48

/* The value of a scalar; at least 0 and, but for "unlimited", finite. The error lists the units there are. */
bool quantity_read(const struct yaml *node, enum quantity quantity, double *value, struct error *error);

/* The shortest text that quantity_read turns into exactly this value; buffer is filled and returned. */
const char *quantity_text(enum quantity quantity, double value, char buffer[QUANTITY_TEXT_MAX]);

/* The nearest value that quantity_text writes with so many significant digits in the quantity's usual unit; 0 and
 * "unlimited" stay. */
double quantity_rounded(enum quantity quantity, double value, int digits);

/* The shortest decimal that strtod turns into exactly this number; buffer is filled and returned. */
const char *number_text(double number, char buffer[QUANTITY_TEXT_MAX]);

/* The nearest number of so many significant digits. */
double number_rounded(double number, int digits);

#endif

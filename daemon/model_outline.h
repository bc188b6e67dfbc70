/* What config.json says of a model: enough to plan and to profile it, without its weights. */
#ifndef DAEMON_MODEL_OUTLINE_H
#define DAEMON_MODEL_OUTLINE_H

#include "model/model.h"

struct model_outline {
    const struct model_config *config;
    struct model *model;         /* where the weights are there, too: whose configuration it is */
    struct model_config *parsed; /* where they are not */
};

/* Reads DIR/config.json. Where DIR has weights their headers are looked at and must be right, because a checkpoint may
 * lack the pooler, which config.json does not say. Close it in any case. */
bool model_outline_open(struct model_outline *outline, const char *directory, struct error *error);
void model_outline_close(struct model_outline *outline);

#endif

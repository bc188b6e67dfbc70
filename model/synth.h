/* Synthetic models with a chosen size of shard, for the tests of model_synthesise. */
#ifndef MODEL_SYNTH_H
#define MODEL_SYNTH_H

#include "model/model.h"

/* As model_synthesise, with shards of at most shard_limit bytes of tensors (a larger tensor has a shard of its own). */
bool synthesise_sharded(const char *architecture, uint64_t seed, const char *directory, uint64_t shard_limit,
                        struct error *error);

#endif

/* The one way in which every command and log line names a run of units. */
#ifndef DAEMON_SLICE_WORDS_H
#define DAEMON_SLICE_WORDS_H

#include "model/model.h"

#define SLICE_WORDS_MAX 80

/* Units [first, end): "embed, blocks 0-3.1", "block 5.2", "blocks 9.3-11, head", "layers 5-12". Blocks and their parts
 * are those of model_unit_name, parts counted from 1; a block without a part is whole. config NULL: PipeEdge's layers.
 * buffer is filled and returned. */
const char *slice_words(const struct model_config *config, unsigned first, unsigned end, char buffer[SLICE_WORDS_MAX]);

#endif

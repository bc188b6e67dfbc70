/* The weights of a model directory: model.safetensors, or the shards that model.safetensors.index.json lists, mapped.
 */
#ifndef MODEL_CHECKPOINT_H
#define MODEL_CHECKPOINT_H

#include "model/model.h"

struct checkpoint;

/* Maps the files and checks every header; with an index also that it names only files in the directory. Reads no
 * weights. Errors begin with the file. */
struct checkpoint *checkpoint_open(const char *directory, struct error *error);
void checkpoint_close(struct checkpoint **checkpoint);

/* As tensor_source.find: under the name as it stands in the files. *absent (may be NULL) says whether a failure means
 * only that there is no such tensor. */
bool checkpoint_find(const struct checkpoint *checkpoint, const char *name, struct tensor *tensor, bool *absent,
                     struct error *error);

/* The directory, for errors. Borrowed. */
const char *checkpoint_directory(const struct checkpoint *checkpoint);

#endif

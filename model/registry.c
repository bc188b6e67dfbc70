/* The families this program knows: one row each. The rows' order is the order of names in error messages. */
#include "model/family.h"

static const struct family *const families[] = {
    &family_vit,
};

const struct family *family_at(size_t index) {
    return index < sizeof families / sizeof *families ? families[index] : NULL;
}

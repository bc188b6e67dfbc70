/* The bounded queue between threads; see queue.h. A ring under one mutex: entries are microbatches and files, thousands
 * a second at the most, so a lock costs nothing that could be measured. The event descriptor is written when the queue
 * becomes non-empty and read when it becomes empty, both under the lock, so it is readable exactly while there is
 * something to take. */
#include "base/queue.h"
#include "base/allocate.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    int descriptor;
    bool closed;
    size_t capacity, first, length;
    void **entries;
};

struct queue *queue_new(size_t capacity, struct error *error) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (descriptor < 0) {
        error_set_errno(error, "queue: eventfd");
        return NULL;
    }
    struct queue *queue = allocate(1, sizeof *queue);
    queue->entries = allocate(capacity, sizeof *queue->entries);
    queue->capacity = capacity;
    queue->descriptor = descriptor;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->filled, NULL);
    return queue;
}

void queue_destroy(struct queue **pointer) {
    struct queue *queue = *pointer;
    *pointer = NULL;
    if (!queue)
        return;
    close(queue->descriptor);
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->lock);
    release(queue->entries);
    release(queue);
}

static void event_set(struct queue *queue) {
    uint64_t one = 1;
    ssize_t written = write(queue->descriptor, &one, sizeof one);
    (void)written; /* cannot fail: the counter is 0 or 1 */
}

static void event_clear(struct queue *queue) {
    uint64_t count;
    ssize_t got = read(queue->descriptor, &count, sizeof count);
    (void)got;
}

bool queue_put(struct queue *queue, void *entry) {
    pthread_mutex_lock(&queue->lock);
    bool room = !queue->closed && queue->length < queue->capacity;
    if (room) {
        queue->entries[(queue->first + queue->length) % queue->capacity] = entry;
        if (queue->length++ == 0)
            event_set(queue);
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->lock);
    return room;
}

/* The lock is held and there is an entry. */
static void *take_first(struct queue *queue) {
    void *entry = queue->entries[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    if (--queue->length == 0)
        event_clear(queue);
    return entry;
}

void *queue_take(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    void *entry = queue->length > 0 ? take_first(queue) : NULL;
    pthread_mutex_unlock(&queue->lock);
    return entry;
}

void *queue_wait(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    while (queue->length == 0 && !queue->closed)
        pthread_cond_wait(&queue->filled, &queue->lock);
    void *entry = queue->length > 0 ? take_first(queue) : NULL;
    pthread_mutex_unlock(&queue->lock);
    return entry;
}

void queue_close(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}

size_t queue_length(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    size_t length = queue->length;
    pthread_mutex_unlock(&queue->lock);
    return length;
}

int queue_descriptor(const struct queue *queue) {
    return queue->descriptor;
}

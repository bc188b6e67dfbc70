/* Forward search with labels; see labels.h.
 *
 * The walk is that of reach.c: a state (boards used) is expanded once for each type q with a board left, and the labels
 * of (boards used + q, q) have that one origin. First the labels of all last boards are brought across to q: the
 * cheapest arrival at each cut. Then each arrival is extended by q's slices: the cheapest departure at each cut. What
 * survives the bounds becomes labels. The number of boards is the layer, so the best plan of each number comes for
 * free.
 *
 * Labels, groups and blocks stay until the next search, so that a plan can be traced back through its parents.
 */
#include "partitioner/labels.h"

#include "base/allocate.h"

#include <math.h>
#include <string.h>

#define GROUPS_BETWEEN_LOOKS 64

static void fronts_init(struct fronts *fronts, unsigned cuts) {
    fronts->head = allocate(cuts, sizeof *fronts->head);
    memset(fronts->head, 0xff, cuts * sizeof *fronts->head);
    fronts->first = cuts;
}

static void fronts_clear(struct fronts *fronts, unsigned cuts) {
    for (unsigned cut = fronts->first; cut < fronts->end; cut++)
        fronts->head[cut] = STATES_NONE;
    fronts->nodes = 0;
    fronts->first = cuts;
    fronts->end = 0;
}

static uint32_t new_node(struct fronts *fronts) {
    if (fronts->nodes == fronts->capacity) {
        void *memory = fronts->node;
        allocate_grow(&memory, &fronts->capacity, fronts->nodes + 1, sizeof *fronts->node);
        fronts->node = memory;
    }
    return (uint32_t)fronts->nodes++;
}

static void fronts_insert(struct fronts *fronts, unsigned cut, double cost, double receive, uint32_t parent) {
    uint32_t before = STATES_NONE, after = fronts->head[cut];
    for (; after != STATES_NONE && fronts->node[after].cost <= cost; after = fronts->node[after].next) {
        if (fronts->node[after].receive <= receive)
            return; /* dominated */
        before = after;
    }
    while (after != STATES_NONE && fronts->node[after].receive >= receive)
        after = fronts->node[after].next; /* dominated by the new one */
    uint32_t node = new_node(fronts);
    fronts->node[node] = (struct front_node){cost, receive, parent, after};
    if (before == STATES_NONE)
        fronts->head[cut] = node;
    else
        fronts->node[before].next = node;
    fronts->first = cut < fronts->first ? cut : fronts->first;
    fronts->end = cut < fronts->end ? fronts->end : cut + 1;
}

void labels_init(struct labels *labels, const struct fleet *fleet) {
    memset(labels, 0, sizeof *labels);
    labels->fleet = fleet;
    states_init(&labels->states, fleet);
    fronts_init(&labels->arrivals, fleet->cuts);
    fronts_init(&labels->departures, fleet->cuts);
}

void labels_close(struct labels *labels) {
    states_close(&labels->states);
    release(labels->label);
    release(labels->arrivals.head);
    release(labels->arrivals.node);
    release(labels->departures.head);
    release(labels->departures.node);
}

/* What stays the same during one search. */
struct walk {
    struct labels *labels;
    const struct graph *graph;
    struct label_bound *bounds;
    unsigned bound_count;
    double tolerance;
    bool half_duplex;
};

static void gather_block(const struct walk *walk, const struct block *block, unsigned type) {
    const struct labels *labels = walk->labels;
    const struct fleet *fleet = labels->fleet;
    size_t stride = (size_t)fleet->ends * fleet->ends, column = (size_t)block->type * fleet->ends + type;
    for (uint32_t at = (uint32_t)block->data; at < block->data + block->count; at++) {
        const struct label *label = &labels->label[at];
        double crossing = walk->graph->crossing[label->cut * stride + column];
        if (crossing == INFINITY)
            continue;
        double receive = 0;
        if (walk->half_duplex) {
            receive = fleet->transfer[label->cut * stride + column];
            if (label->receive + receive > walk->graph->period)
                continue;
        }
        fronts_insert(&walk->labels->arrivals, label->cut, label->cost + crossing, receive, at);
    }
}

/* Is a state hopeless that has spent `cost`, is owed `rest` by its unused boards, and needs `togo` for the rest of the
 * way? */
static inline bool hopeless(const struct label_bound *bound, double cost, double togo, double rest) {
    return (bound->costs ? cost : 0) + togo > bound->limit + rest;
}

static bool arrival_hopeless(const struct walk *walk, const struct group *group, unsigned type, unsigned cut,
                             const struct front_node *arrival) {
    unsigned class = graph_class(walk->graph, arrival->receive);
    for (unsigned index = 0; index < walk->bound_count; index++) {
        const struct label_bound *bound = &walk->bounds[index];
        double togo = relaxation_enter(bound->relaxation, cut, class)[type];
        if (hopeless(bound, arrival->cost, togo, group->rest[index]))
            return true;
    }
    return false;
}

static void extend_arrivals(const struct walk *walk, const struct group *group, unsigned type) {
    struct fronts *arrivals = &walk->labels->arrivals, *departures = &walk->labels->departures;
    for (unsigned cut = arrivals->first; cut < arrivals->end && cut < walk->labels->fleet->units; cut++)
        for (uint32_t at = arrivals->head[cut]; at != STATES_NONE; at = arrivals->node[at].next) {
            struct front_node arrival = arrivals->node[at];
            if (arrival_hopeless(walk, group, type, cut, &arrival))
                continue;
            struct arc_list arcs = graph_arcs(walk->graph, type, cut);
            for (const struct arc *arc = arcs.at; arc < arcs.end; arc++)
                fronts_insert(departures, arc->end, arrival.cost + arc->cost, arrival.receive, arrival.parent);
        }
}

/* How far the state is from being hopeless, in the tightest of the bounds; above 0: it is. */
static double excess(const struct walk *walk, const struct label *label, const double *rest) {
    double most = -INFINITY;
    unsigned class = graph_class(walk->graph, label->receive);
    for (unsigned index = 0; index < walk->bound_count; index++) {
        const struct label_bound *bound = &walk->bounds[index];
        double togo = relaxation_togo(bound->relaxation, label->type, class)[label->cut];
        most = fmax(most, (bound->costs ? label->cost : 0) + togo - rest[index] - bound->limit);
    }
    return most;
}

/* Boards that a plan leaves unused pay into its bound, so a complete plan can cost more than the limit without being
 * hopeless. */
static bool over_limit(const struct walk *walk, double cost) {
    for (unsigned index = 0; index < walk->bound_count; index++)
        if (walk->bounds[index].costs && cost > walk->bounds[index].limit)
            return true;
    return false;
}

static void complete(const struct walk *walk, uint32_t at, unsigned stages) {
    struct labels *labels = walk->labels;
    const struct fleet *fleet = labels->fleet;
    const struct label *label = &labels->label[at];
    double crossing = graph_crossing(walk->graph, fleet->units, label->type)[fleet->types];
    double send = fleet_transfer(fleet, fleet->units, label->type, fleet->types);
    if (crossing == INFINITY || (walk->half_duplex && label->receive + send > walk->graph->period))
        return;
    double cost = label->cost + crossing;
    if (cost >= labels->best[stages] || over_limit(walk, cost))
        return;
    labels->best[stages] = cost;
    labels->best_label[stages] = at;
    for (unsigned index = 0; index < walk->bound_count; index++)
        if (walk->bounds[index].costs)
            walk->bounds[index].limit = fmin(walk->bounds[index].limit, cost * (1 + walk->tolerance));
}

static void push_label(struct labels *labels, const struct label *label) {
    if (labels->count == labels->capacity) {
        void *memory = labels->label;
        allocate_grow(&memory, &labels->capacity, labels->count + 1, sizeof *labels->label);
        labels->label = memory;
    }
    labels->label[labels->count++] = *label;
}

/* Turns the departures into labels. Returns the least excess among those kept. */
static double keep_departures(const struct walk *walk, unsigned type, const double *rest, unsigned stages) {
    struct labels *labels = walk->labels;
    double least = INFINITY;
    for (unsigned cut = labels->departures.first; cut < labels->departures.end; cut++)
        for (uint32_t at = labels->departures.head[cut]; at != STATES_NONE; at = labels->departures.node[at].next) {
            const struct front_node *node = &labels->departures.node[at];
            struct label label = {.cost = node->cost, .receive = node->receive, .parent = node->parent};
            label.cut = (uint16_t)cut;
            label.type = (uint8_t)type;
            double over = excess(walk, &label, rest);
            if (over > 0)
                continue;
            least = fmin(least, over);
            push_label(labels, &label);
            if (cut == labels->fleet->units)
                complete(walk, (uint32_t)labels->count - 1, stages);
        }
    return least;
}

static void expand_type(const struct walk *walk, uint32_t from, unsigned type, unsigned stages) {
    struct labels *labels = walk->labels;
    struct states *states = &labels->states;
    struct group group = states->group[from];
    double rest[STATES_BOUNDS] = {0};
    for (unsigned index = 0; index < walk->bound_count; index++)
        rest[index] = group.rest[index] - walk->bounds[index].relaxation->price[type];

    fronts_clear(&labels->arrivals, labels->fleet->cuts);
    fronts_clear(&labels->departures, labels->fleet->cuts);
    for (uint32_t block = group.block; block != STATES_NONE; block = states->block[block].next)
        gather_block(walk, &states->block[block], type);
    extend_arrivals(walk, &group, type);

    size_t begin = labels->count;
    double least = keep_departures(walk, type, rest, stages);
    if (labels->count == begin)
        return;
    bool made;
    uint32_t to = states_group(states, states_use(states, group.key, type), &made);
    memcpy(states->group[to].rest, rest, sizeof rest);
    if (states->group[to].promise > (float)least)
        states->group[to].promise = (float)least;
    states_add_block(
        states, to,
        (struct block){.from = from, .type = type, .data = begin, .count = (uint32_t)(labels->count - begin)});
}

static void begin_walk(const struct walk *walk) {
    struct labels *labels = walk->labels;
    struct states *states = &labels->states;
    bool made;
    labels->count = 0;
    for (unsigned stages = 0; stages <= PARTITIONER_BOARDS_MAX; stages++)
        labels->best[stages] = INFINITY;
    states_clear(states);
    states_begin_layer(states);
    uint32_t root = states_group(states, 0, &made);
    for (unsigned index = 0; index < walk->bound_count; index++)
        states->group[root].rest[index] = walk->bounds[index].relaxation->total;
    push_label(labels, &(struct label){.parent = STATES_NONE, .type = (uint8_t)labels->fleet->types});
    states_add_block(states, root, (struct block){.type = labels->fleet->types, .data = 0, .count = 1});
}

static bool must_give_up(const struct labels *labels, const struct search_limits *limits) {
    size_t bytes = labels->count * sizeof(struct label) + labels->states.blocks * sizeof(struct block) +
                   labels->states.groups * sizeof(struct group);
    return bytes > limits->bytes || search_out_of_time(limits);
}

/* Expands the groups [next, end) into the layer of `stages` boards. */
static enum search_result expand_layer(const struct walk *walk, uint32_t next, uint32_t end, unsigned stages, bool any,
                                       const struct search_limits *limits) {
    struct states *states = &walk->labels->states;
    for (; next < end; next++) {
        if (next % GROUPS_BETWEEN_LOOKS == 0 && must_give_up(walk->labels, limits))
            return SEARCH_GAVE_UP;
        for (unsigned type = 0; type < walk->labels->fleet->types; type++)
            if (states_can_use(states, states->group[next].key, type))
                expand_type(walk, next, type, stages);
        if (any && walk->labels->best[stages] < INFINITY)
            return SEARCH_FOUND;
    }
    return SEARCH_NONE;
}

enum search_result labels_search(struct labels *labels, const struct graph *graph, struct label_bound *bounds,
                                 unsigned bound_count, double tolerance, bool any, const struct search_limits *limits) {
    struct walk walk = {labels, graph, bounds, bound_count, tolerance, labels->fleet->problem->half_duplex};
    struct states *states = &labels->states;
    begin_walk(&walk);
    bool found = false;
    uint32_t next = 0;
    for (unsigned stages = 1; stages <= labels->fleet->problem->boards && next < states->groups; stages++) {
        uint32_t end = (uint32_t)states->groups;
        states_begin_layer(states);
        enum search_result result = expand_layer(&walk, next, end, stages, any, limits);
        if (result != SEARCH_NONE)
            return result;
        found |= labels->best[stages] < INFINITY;
        if (limits->width)
            states_trim(states, limits->width);
        next = end;
    }
    return found ? SEARCH_FOUND : SEARCH_NONE;
}

void labels_route(const struct labels *labels, unsigned stages, struct route *route) {
    route->stages = stages;
    uint32_t at = labels->best_label[stages];
    while (stages-- > 0) {
        const struct label *label = &labels->label[at];
        at = label->parent;
        route->stop[stages] = (struct route_stop){label->type, labels->label[at].cut, label->cut};
    }
}

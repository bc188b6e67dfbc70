/* Draws a schedule (gantt_schedule.h) as SVG; see gantt.h.
 *
 * From top to bottom: title and predictions, the legend, one row a stage with three lanes, the axis. Bars of one
 * microbatch share a number and every second microbatch is lighter, so that the eye can follow one down the stages. The
 * lanes that set the period are red, and it is measured out above the first of them between two starts near the end,
 * where the pipeline is full. The file has no script and no outside reference; names, which people choose, are escaped.
 */
#include "daemon/gantt.h"

#include "base/seconds.h"
#include "daemon/gantt_schedule.h"
#include "daemon/plan_reason.h"
#include "daemon/slice_words.h"

#include <math.h>

#define WIDTH         1240.0
#define LEFT          250.0 /* where time 0 is */
#define RIGHT         28.0
#define TOP           124.0
#define ROW           66.0 /* from one stage to the next */
#define BOTTOM        56.0
#define LABEL_LETTERS 26
#define NUMBER_WIDTH  17.0 /* the narrowest bar that holds its number */
#define TICKS         10
#define SAME_PERIOD   1e-9

static const struct lane {
    const char *name;
    double offset, height; /* within the row */
} lanes[] = {
    [RESOURCE_COMPUTE] = {"compute", 13, 24},
    [RESOURCE_RECEIVE] = {"receive", 2, 9},
    [RESOURCE_SEND] = {"send", 39, 9},
};

struct chart {
    const struct plan_report *report;
    const struct schedule *schedule;
    FILE *to;
    double scale; /* pixels of a second */
    double bottom;
    unsigned bottleneck; /* stage */
    enum stage_resource binds;
};

static double x_of(const struct chart *chart, double seconds) {
    return LEFT + seconds * chart->scale;
}

static double y_of(unsigned stage) {
    return TOP + ROW * stage;
}

/* Text of people in XML: what has a meaning there is escaped, control characters become '?', and only the first letters
 * of a long text are shown. */
static void print_text(FILE *to, const char *text, unsigned letters) {
    for (; *text; text++) {
        bool starts_letter = ((unsigned char)*text & 0xc0) != 0x80;
        if (starts_letter && letters-- == 0) {
            fputs("…", to);
            return;
        }
        if (*text == '&' || *text == '<' || *text == '>' || *text == '"' || *text == '\'')
            fprintf(to, "&#%d;", *text);
        else
            fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, to);
    }
}

/* ---- the frame ---- */

static void print_style(const struct chart *chart) {
    fprintf(chart->to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" "
            "font-family=\"system-ui, 'Helvetica Neue', Arial, sans-serif\" font-size=\"12\">\n",
            WIDTH, chart->bottom + BOTTOM, WIDTH, chart->bottom + BOTTOM);
    fputs(
        "<style>\n"
        ".title{font-size:20px;font-weight:600;fill:#1d2733} .soft{fill:#5b6877} .name{font-weight:600;fill:#1d2733}\n"
        ".receive{fill:#3fa796} .compute{fill:#4472b8} .send{fill:#e0a13c} .bound{fill:#c8374a} .light{opacity:.72}\n"
        ".number{fill:#fff;font-size:11px;text-anchor:middle} .grid{stroke:#e3e8ee} .row{fill:#f5f7fa}\n"
        ".mark{stroke:#c8374a;fill:none;stroke-width:1.4} .said{fill:#c8374a;font-weight:600}\n"
        "</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        chart->to);
}

static void print_title(const struct chart *chart) {
    const struct plan *plan = chart->report->plan;
    char period[SECONDS_WORDS_MAX], latency[SECONDS_WORDS_MAX];
    fprintf(chart->to, "<text class=\"title\" x=\"28\" y=\"38\">");
    print_text(chart->to, chart->report->model, 48);
    fprintf(chart->to, " on %u board%s: %.4g items/s</text>\n", plan->stages, plan->stages == 1 ? "" : "s",
            plan->throughput);
    fprintf(chart->to,
            "<text class=\"soft\" x=\"28\" y=\"60\">a microbatch of %u every %s, each %s under way; policy %s, "
            "the first %u microbatches</text>\n",
            chart->report->problem->items, seconds_words(plan->period_s, period),
            seconds_words(plan->latency_s, latency), plan->policy, chart->schedule->microbatches);
}

static void print_legend(const struct chart *chart) {
    static const struct {
        const char *class, *text;
    } entries[] = {{"receive", "receive"}, {"compute", "compute"}, {"send", "send"}, {"bound", "sets the period"}};
    double x = LEFT;
    for (size_t entry = 0; entry < sizeof entries / sizeof entries[0]; entry++, x += 92)
        fprintf(chart->to,
                "<rect class=\"%s\" x=\"%.0f\" y=\"78\" width=\"12\" height=\"12\" rx=\"2\"/>"
                "<text class=\"soft\" x=\"%.0f\" y=\"88.5\">%s</text>\n",
                entries[entry].class, x, x + 18, entries[entry].text);
}

/* The smallest of 1, 2, 5 times a power of ten that gives no more than TICKS ticks. */
static double tick_seconds(double length) {
    double power = pow(10, floor(log10(length / TICKS)));
    double step = power;
    for (unsigned more = 0; length / step > TICKS; more++)
        step *= more % 3 == 1 ? 2.5 : 2;
    return step;
}

static void print_axis(const struct chart *chart) {
    double length = schedule_length(chart->schedule), step = length > 0 ? tick_seconds(length) : 0;
    bool millis = length < 1;
    for (unsigned tick = 0; tick == 0 || (step > 0 && tick * step <= length); tick++) {
        double x = x_of(chart, tick * step);
        fprintf(chart->to,
                "<line class=\"grid\" x1=\"%.2f\" y1=\"%.0f\" x2=\"%.2f\" y2=\"%.0f\"/>"
                "<text class=\"soft\" x=\"%.2f\" y=\"%.0f\" text-anchor=\"middle\">%.6g</text>\n",
                x, TOP - 6, x, chart->bottom + 6, x, chart->bottom + 22, tick * step * (millis ? 1e3 : 1));
    }
    fprintf(chart->to, "<text class=\"soft\" x=\"%.0f\" y=\"%.0f\" text-anchor=\"end\">%s</text>\n", WIDTH - RIGHT,
            chart->bottom + 42, millis ? "milliseconds" : "seconds");
}

/* ---- rows ---- */

/* Is this lane of this stage as busy as the period is long? */
static bool is_bound(const struct chart *chart, unsigned stage, enum stage_resource resource) {
    double seconds;
    const struct plan *plan = chart->report->plan;
    enum stage_resource binds = stage_binds(chart->report->problem, &plan->stage[stage], &seconds);
    bool same = binds == resource || (binds == RESOURCE_TRANSFERS && resource != RESOURCE_COMPUTE);
    return same && seconds >= plan->period_s * (1 - SAME_PERIOD);
}

static void print_bar(const struct chart *chart, unsigned stage, enum stage_resource resource, unsigned microbatch) {
    unsigned step = 2 * stage + (resource == RESOURCE_COMPUTE ? 1 : resource == RESOURCE_SEND ? 2 : 0);
    size_t at = schedule_at(chart->schedule, step, microbatch);
    double x = x_of(chart, chart->schedule->start[at]), y = y_of(stage) + lanes[resource].offset;
    double width = x_of(chart, chart->schedule->end[at]) - x;
    if (!(width > 0))
        return;
    double drawn = width > 2 ? width - 0.8 : width; /* a gap between neighbours, where there is room for one */
    fprintf(chart->to, "<rect class=\"%s%s\" x=\"%.2f\" y=\"%.0f\" width=\"%.2f\" height=\"%.0f\" rx=\"1.5\"/>",
            is_bound(chart, stage, resource) ? "bound" : lanes[resource].name, microbatch % 2 ? " light" : "", x, y,
            drawn, lanes[resource].height);
    if (resource == RESOURCE_COMPUTE && width >= NUMBER_WIDTH)
        fprintf(chart->to, "<text class=\"number\" x=\"%.2f\" y=\"%.1f\">%u</text>", x + width / 2,
                y + lanes[resource].height / 2 + 4, microbatch + 1);
    fputc('\n', chart->to);
}

static void print_row(const struct chart *chart, unsigned stage) {
    const struct plan_stage *planned = &chart->report->plan->stage[stage];
    char words[SLICE_WORDS_MAX];
    double y = y_of(stage);
    fprintf(chart->to, "<rect class=\"row\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"50\"/>\n", LEFT, y,
            WIDTH - LEFT - RIGHT);
    fprintf(chart->to, "<text class=\"name\" x=\"28\" y=\"%.0f\">", y + 21);
    print_text(chart->to, chart->report->problem->board_names[planned->board], LABEL_LETTERS);
    fprintf(chart->to, "</text><text class=\"soft\" x=\"28\" y=\"%.0f\">", y + 38);
    print_text(chart->to, slice_words(chart->report->config, planned->first, planned->end, words), 34);
    fputs("</text>\n", chart->to);
}

static void print_bars(const struct chart *chart, unsigned stage) {
    for (enum stage_resource resource = RESOURCE_COMPUTE; resource <= RESOURCE_SEND; resource++)
        for (unsigned microbatch = 0; microbatch < chart->schedule->microbatches; microbatch++)
            print_bar(chart, stage, resource, microbatch);
}

/* A measure between the starts of the last two microbatches but one, above the row of the bottleneck. */
static void print_period(const struct chart *chart) {
    const struct schedule *schedule = chart->schedule;
    unsigned step = 2 * chart->bottleneck + (chart->binds == RESOURCE_COMPUTE ? 1
                                             : chart->binds == RESOURCE_SEND  ? 2
                                                                              : 0);
    unsigned last = schedule->microbatches - 2;
    double from = x_of(chart, schedule->start[schedule_at(schedule, step, last - 1)]);
    double to = x_of(chart, schedule->start[schedule_at(schedule, step, last)]);
    double y = y_of(chart->bottleneck) - 6;
    char words[SECONDS_WORDS_MAX];
    fprintf(chart->to, "<path class=\"mark\" d=\"M%.2f %.0fv8M%.2f %.0fh%.2fM%.2f %.0fv8\"/>", from, y - 4, from, y,
            to - from, to, y - 4);
    fprintf(chart->to, "<text class=\"said\" x=\"%.2f\" y=\"%.0f\" text-anchor=\"end\">period %s</text>\n", from - 6,
            y + 4, seconds_words(chart->report->plan->period_s, words));
}

void gantt_print(const struct plan_report *report, FILE *to) {
    struct schedule schedule;
    schedule_init(&schedule, report->problem, report->plan, GANTT_MICROBATCHES);
    double length = schedule_length(&schedule);
    struct chart chart = {
        .report = report,
        .schedule = &schedule,
        .to = to,
        .scale = length > 0 ? (WIDTH - LEFT - RIGHT) / length : 1,
        .bottom = y_of(report->plan->stages) - (ROW - 50),
        .bottleneck = plan_bottleneck(report->problem, report->plan),
    };
    chart.binds = stage_binds(report->problem, &report->plan->stage[chart.bottleneck], NULL);
    print_style(&chart);
    print_title(&chart);
    print_legend(&chart);
    for (unsigned stage = 0; stage < schedule.stages; stage++)
        print_row(&chart, stage);
    print_axis(&chart);
    for (unsigned stage = 0; stage < schedule.stages; stage++)
        print_bars(&chart, stage);
    print_period(&chart);
    fputs("</svg>\n", to);
    schedule_close(&schedule);
}

# Markdown rows of bench_lab's results, one for each rival: medians over its rounds, and a last row with the least and the
# most of each column. "by plans": what the predicted periods make of the ratio. Input: RESULT.json files as write_json of scripts/bench_lab writes them, one line each. What a
# result does not tell is "-".

function member(text, name,   rest) { # the value of a member that is a string or a number
    if (!match(text, "\"" name "\": *"))
        return "-"
    rest = substr(text, RSTART + RLENGTH)
    return substr(rest, 1, 1) == "\"" ? substr(rest, 2, index(substr(rest, 2), "\"") - 1) : rest + 0
}

function median(values, n,   i, j, swap) { # sorts them
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && values[j] < values[j - 1]; j--) {
            swap = values[j]
            values[j] = values[j - 1]
            values[j - 1] = swap
        }
    return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
}

# Of the rounds' numbers in one place, or with number 0 of how far the measured period is off the predicted one.
function middle(rounds, n, number,   i, fields, values) {
    for (i = 1; i <= n; i++) {
        if (split(rounds[i], fields, ", ") < number)
            return "-"
        values[i] = number ? fields[number] + 0 : fields[1] / fields[2] - 1
    }
    return median(values, n)
}

# A cell's text; the column's least and most are noted.
function cell(name, value) {
    if (value == "-")
        return value
    if (!(name in least) || value < least[name])
        least[name] = value
    if (!(name in most) || value > most[name])
        most[name] = value
    if (name == "wire" || name == "memory")
        return sprintf(name == "wire" ? "%.4f" : "%.3f", value)
    return sprintf(name == "off" ? "%+.1f %%" : "%.1f %%", 100 * value)
}

function range(name) { return name in least ? cell(name, least[name]) " to " cell(name, most[name]) : "-" }

function row(text, rival,   list, rounds, n, ratio, planned, i, line) { # r: which of its file's rivals, the first is 2
    list = text
    sub(/.*_outside[a-z_]*": \[\[/, "", list)
    sub(/\]\].*/, "", list)
    n = split(list, rounds, /\], \[/)
    ratio = member(text, "ratio")
    planned = middle(rounds, n, 2)
    if (r == 2)
        planned_first = planned
    line = rival " | " (ratio > 0 ? sprintf("%.2f", ratio) : "-") " | " (ratio > 0 && planned > 0 ? sprintf("%.2f", planned_first / planned) : "-")
    for (i = 1; i <= columns; i++)
        line = line " | " cell(column[i], middle(rounds, n, place[i]))
    rivals_all++
    return line " | " member(text, "bits") " | " n
}

BEGIN {
    columns = split("off quota link wire memory outside stolen", column, " ")
    split("0 3 4 5 6 7 9", place, " ") # in a round: period, predicted, quota, link, wire, memory, outside, idle, stolen
    for (i = 1; i < ARGC; i++) {
        read = getline line <ARGV[i]
        if (read < 1 || member(line, "row") == "latency" || !index(line, "\"rivals\": [")) {
            print "bench_lab: " ARGV[i] ": " (read < 0 ? "cannot be read" : "want a RESULT.json of a row that streams (not latency)") >"/dev/stderr"
            exit failed = 1
        }
        close(ARGV[i])
    }
    print "| row | model | fleet | rival | ratio | by plans | off | quota | link | wire | memory | outside | stolen | bits | rounds | commit |"
    print "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
}

index($0, "\"rounds_period_predicted_quota_link_wire_memory_outside") {
    fleet = member($0, "fleet")
    sub(/\.yaml$/, "", fleet)
    memory = member($0, "memory")
    network = member($0, "network")
    fleet = fleet (network == "" ? "" : ", " network) (memory == "" ? "" : ", memory " memory)
    fleet = fleet (member($0, "microbatch") == 1 ? "" : ", microbatch " member($0, "microbatch"))
    fleet = fleet (member($0, "times") == "machine" ? ", times of the machine" : "")
    fleet = fleet (member($0, "others") == "busy" ? ", others busy" : "")
    fleet = fleet (member($0, "planner") == "live" ? ", planner live" : "")
    count = split($0, rivals, /\{"rival": /)
    for (r = 2; r <= count; r++)
        printf "| %s | %s | %s | %s | %s |\n", member($0, "row"), member($0, "model"), fleet,
            row(rivals[r], substr(rivals[r], 2, index(substr(rivals[r], 2), "\"") - 1)), member($0, "commit")
}

END {
    if (failed)
        exit failed
    line = "| least to most | | | " rivals_all + 0 " rivals | | "
    for (i = 1; i <= columns; i++)
        line = line "| " range(column[i]) " "
    print line "| | | |"
}

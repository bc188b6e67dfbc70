# Markdown rows of bench_lab's results, one for each rival: medians over its rounds. Input: RESULT.json files as
# write_json of scripts/bench_lab writes them, one line each. Fields that a result does not have are printed as "-".

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

function column(rounds, n, number,   i, fields, values) {
    for (i = 1; i <= n; i++) {
        if (split(rounds[i], fields, ", ") < number)
            return "-"
        values[i] = fields[number] + 0
    }
    return median(values, n)
}

function off_by(rounds, n,   i, fields, values) {
    for (i = 1; i <= n; i++) {
        split(rounds[i], fields, ", ")
        values[i] = fields[1] / fields[2]
    }
    return median(values, n) - 1
}

function share(value, digits) {
    return value == "-" ? "-" : sprintf("%." digits "f %%", 100 * value)
}

BEGIN {
    print "| row | model | fleet | rival | ratio | off | quota | link | wire | memory | outside | stolen | bits | rounds | commit |"
    print "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
}

index($0, "\"rounds_period_predicted_quota_link_wire_memory_outside") {
    fleet = member($0, "fleet")
    sub(/\.yaml$/, "", fleet)
    memory = member($0, "memory")
    network = member($0, "network")
    fleet = fleet (network == "" ? "" : ", " network) (memory == "" ? "" : ", memory " memory) (member($0, "others") == "busy" ? ", others busy" : "")
    count = split($0, rivals, /\{"rival": /)
    for (r = 2; r <= count; r++) {
        text = "\"rival\": " rivals[r]
        list = text
        sub(/.*_outside[a-z_]*": \[\[/, "", list)
        sub(/\]\].*/, "", list)
        n = split(list, rounds, /\], \[/)
        printf "| %s | %s | %s | %s | %.2f | %s | %s | %s | %s | %s | %s | %s | %s | %d | %s |\n", member($0, "row"), member($0, "model"),
            fleet, member(text, "rival"), member(text, "ratio"), sprintf("%+.1f %%", 100 * off_by(rounds, n)), share(column(rounds, n, 3), 1),
            share(column(rounds, n, 4), 1), sprintf("%.4f", column(rounds, n, 5)), sprintf("%.3f", column(rounds, n, 6)),
            share(column(rounds, n, 7), 1), share(column(rounds, n, 9), 1), member(text, "bits"), n, member($0, "commit")
    }
}

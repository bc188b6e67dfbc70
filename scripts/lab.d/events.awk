# The events in a coordinator's JSON log: "SECONDS KIND EPOCH STAGES PERIOD_S TOOK_S UNSERVED_S BOARD REASON", "-" for what it does not say.
function member(name,   rest, at) {
    at = index($0, "\"" name "\": ")
    if (!at) return "-"
    rest = substr($0, at + length(name) + 4)
    if (substr(rest, 1, 1) != "\"") {
        sub(/[,}].*/, "", rest)
        return rest
    }
    rest = substr(rest, 2)
    sub(/".*/, "", rest)
    return rest
}
# Of a time such as 2026-11-21T14:50:22.123Z, since 1970.
function seconds(time,   f, year, month) {
    split(time, f, /[-T:Z]/)
    year = f[1] - (f[2] <= 2)
    month = (f[2] + 9) % 12 # March is 0, so that the leap day is a year's last
    return 86400 * (365 * year + int(year / 4) - int(year / 100) + int(year / 400) + int((153 * month + 2) / 5) + f[3] - 719469) \
        + 3600 * f[4] + 60 * f[5] + f[6]
}
/"event": / {
    printf "%.3f %s %s %s %s %s %s %s %s\n", seconds(member("time")), member("event"), member("epoch"), member("stages"),
        member("predicted_period_s"), member("took_s"), member("unserved_s"), member("board"), member("reason")
}

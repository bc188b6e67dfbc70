# What one `submit --json --logits --unordered` prints, judged and dated: a line "SECONDS VERDICT COUNT" for each answer, of
# "right" (what one process says, bit for bit), "wrong" and "failed"; at the end one of "lost" and one of "doubled" if there were any.
#   expected: a file with the line of each picture; repeat: how often each was sent; offset: seconds from /proc/uptime to the epoch.
function say(verdict, count,   uptime) {
    getline uptime <"/proc/uptime"
    close("/proc/uptime")
    printf "%s", sprintf("%.2f %s %d\n", offset + uptime, verdict, count) # in one piece, for two write to the same file
    fflush()
}
function file_of(line) { return substr(line, 1, index(line, ", ") - 1) }
BEGIN {
    while ((getline line <expected) > 0) {
        want[line] = 1
        left[file_of(line)] = repeat
    }
}
{
    left[file_of($0)]--
    say($0 in want ? "right" : index($0, "\"error\": ") ? "failed" : "wrong", 1)
}
END {
    for (file in left) {
        if (left[file] > 0) lost += left[file]
        if (left[file] < 0) doubled -= left[file]
    }
    if (lost) say("lost", lost)
    if (doubled) say("doubled", doubled)
}

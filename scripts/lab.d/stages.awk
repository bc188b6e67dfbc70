# What each stage of a run was to take and what it took, a line for each. Input: $folder/window and $folder/memory of measure.sh,
# then, from "-", the plan's stages as plan_stages prints them. Variables: rival, round, period (seconds of a microbatch).
#
# Seconds of a microbatch: of a board's processor at its share; of its link at its rate, in the busier direction.

FILENAME ~ /window$/ {
    quota[$1] = $2
    outside[$1] = $3
    link[$1] = $6
    next
}
FILENAME ~ /memory$/ {
    memory[$1] = $2
    next
}
{
    printf "%-14s %5d %-12s %4d %5d %10.4f %10.4f %8.1f %% %10.4f %10.4f %11.2f %10.2f\n", rival, round, $1, $2, $3, $4, quota[$1] * period,
        100 * outside[$1], ($5 > $6 ? $5 : $6), link[$1] * period, $7 / 1e6, memory[$1] / 1e6
}

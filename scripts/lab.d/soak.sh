# shellcheck shell=bash disable=SC2154  # set by the script: $scratch, $minutes, $seed, $fleet_boards
# A fleet that lives for hours: boards at random are killed, told to end, drained, cut off, and come back, while memory is sampled.
#
# The first quarter of the boards, at least one, is only cut off and healed, so that there are processes that live from the first minute
# to the last; so does the coordinator. At most a third of the boards is away at a time. $RANDOM is seeded: the same seed does the
# same deeds as long as boards take as long to go.

declare -A is_cut=()
deeds_done=0

board_condition() { # BOARD: here, cut or gone
    if [ -n "${is_cut[$1]-}" ]; then
        echo cut
    elif daemon_of "$1" >/dev/null; then
        echo here
    else
        echo gone
    fi
}
boards_away() {
    local board away=0
    for board in "${fleet_boards[@]}"; do [ "$(board_condition "$board")" = here ] || away=$((away + 1)); done
    echo $away
}

# A drain waits until the board has gone; the soak does not.
leave() { # kill|end|drain|cut BOARD
    case $1 in
    kill) kill -KILL "$(daemon_of "$2")" ;;
    end) kill -TERM "$(daemon_of "$2")" ;;
    drain) in_host coordinator "$binary" drain --insecure "$2" >/dev/null 2>>"$scratch/drain.err" & ;;
    cut) is_cut[$2]=yes && cut_board "$2" ;;
    esac
}
come_back() { # BOARD
    if [ -n "${is_cut[$1]-}" ]; then
        unset "is_cut[$1]"
        heal_board "$1"
    else
        lab start "$1"
    fi
}

# Fails when the one that chance names cannot be done now.
random_deed() {
    local number=$((RANDOM % count)) choice=$((RANDOM % 4)) board ways=(kill end drain cut) what
    board=${fleet_boards[number]}
    if [ "$(board_condition "$board")" != here ]; then
        what=return && come_back "$board"
    elif [ "$(boards_away)" -lt $((count > 3 ? count / 3 : 1)) ]; then
        what=${ways[choice]}
        [ $number -ge $(((count + 3) / 4)) ] || what=cut
        leave "$what" "$board"
    else
        return 1
    fi
    deeds_done=$((deeds_done + 1))
    echo "$EPOCHREALTIME $what $board" >>"$scratch/deeds"
}

# "SECONDS HOST PROCESS BYTES PLANNED" for every daemon: its anonymous memory, and what its slice needs as planned.
sample_memory() {
    local host pid said planned
    said=$(lab_status_json 2>/dev/null | sed 's/{"name": /\n&/g') || return 0
    for host in coordinator "${fleet_boards[@]}"; do
        pid=$(daemon_of "$host") || continue
        planned=$(grep "^{\"name\": \"$host\"" <<<"$said" | json_value planned_memory_bytes)
        awk -v at="$EPOCHREALTIME" -v host="$host" -v pid="$pid" -v planned="${planned:-0}" '
            $1 == "RssAnon:" { print at, host, pid, 1024 * $2, planned }' "/proc/$pid/status" 2>/dev/null || true
    done >>"$scratch/memory"
}

# Of processes that lived for half of the time: what they held; and how fast that grew beyond the plan. Slices grow and shrink, and
# while one epoch follows another a board holds both, so each fifteenth of a life counts by what was exceeded in four samples of five, and
# the line through those is the median of the slopes between any two (Theil and Sen). The first three, when it warms up, and a board
# that has no part in the plan do not count.
report_memory() { # SECONDS
    printf '\n%-14s %9s %9s %9s %9s %10s\n' process 'lived min' 'first MB' 'last MB' 'most MB' 'MB per h'
    awk -v whole="$1" '
        { p = $2 " " $3; held = $4 / 1e6 }
        FNR == NR { if (!(p in born)) born[p] = $1; died[p] = $1; next }
        {
            window = int(15 * ($1 - born[p]) / (died[p] - born[p] + 1))
            if (window < 3 || ($5 == 0 && $2 != "coordinator")) next
            if (!(p in first)) first[p] = held
            last[p] = held; if (held > most[p]) most[p] = held
            beyond[p, window, ++samples[p, window]] = ($4 - $5) / 1e6
        }
        function least(array, key, count, rank,    i, j, low, t) { # the rank-th smallest of array[key, 1..count]
            for (i = 1; i <= rank; i++) {
                low = i
                for (j = i + 1; j <= count; j++) if (array[key, j] < array[key, low]) low = j
                t = array[key, i]; array[key, i] = array[key, low]; array[key, low] = t
            }
            return array[key, rank]
        }
        END {
            for (p in first) {
                if (died[p] - born[p] < whole / 2) continue
                windows = slopes = 0
                for (w = 3; w < 15; w++)
                    if (samples[p, w] > 4) {
                        at[++windows] = w; floor_of[windows] = least(beyond, p SUBSEP w, samples[p, w], int(samples[p, w] / 5) + 1)
                    }
                for (i = 1; i <= windows; i++) for (j = i + 1; j <= windows; j++)
                    slope["all", ++slopes] = (floor_of[j] - floor_of[i]) / (at[j] - at[i])
                hours = (died[p] - born[p]) / 15 / 3600
                split(p, f, " ")
                printf "%-14s %9.1f %9.2f %9.2f %9.2f %10s\n", f[1], (died[p] - born[p]) / 60, first[p], last[p], most[p],
                    (slopes > 5 ? sprintf("%.2f", least(slope, "all", slopes, int((slopes + 1) / 2)) / hours) : "-")
            }
        }' "$scratch/memory" "$scratch/memory" | sort
}

soak() {
    local began ends next=0 allocations before
    begin "$count"
    log_mark
    RANDOM=$seed began=$SECONDS
    ends=$(awk -v now="$SECONDS" -v minutes="$minutes" 'BEGIN { printf "%d", now + 60 * minutes }')
    before=$(lab_status_json | json_value items_done) allocations=$(coordinator_allocations)
    echo "seed $seed, $minutes minutes"
    while [ $SECONDS -lt "$ends" ]; do
        sample_memory
        if [ $SECONDS -ge $next ] && random_deed; then next=$((SECONDS + 3 + RANDOM % 10)); fi
        sleep 1
    done
    for board in "${fleet_boards[@]}"; do [ "$(board_condition "$board")" = here ] || come_back "$board"; done
    settled 0 0 || { failed=1 && echo "DOES NOT SERVE after $patience s: $(lab_status_json | json_value reason)"; }
    measure_rate "$EPOCHREALTIME" || { failed=1 && echo "nothing is answered any more"; }
    report_memory $((SECONDS - began))
    printf '\n%s deeds:%s\n' "$deeds_done" "$(cut -d ' ' -f 2 "$scratch/deeds" | sort | uniq -c | awk '{ printf " %d %s", $1, $2 }')"
    events | awk '{ n[$2]++ } $2 == "serving" && $7 > most { most = $7 }
        END { printf "%d plans, %d kept, %d times sent again, longest pause %.2f s\n", n["planned"], n["kept"], n["replayed"], most }'
    echo "coordinator: $(($(lab_status_json | json_value items_done) - before)) items, $(($(coordinator_allocations) - allocations)) allocations"
    echo "at the end: $rate images/s measured, $predicted predicted"
}
coordinator_allocations() { lab_status_json | sed 's/"boards": .*//' | json_value allocations; }

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
    elif [ "$(boards_away)" -lt $(((count + 2) / 3)) ]; then
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

# Of processes that lived for half of the time: what they held; and least squares over what that was beyond the plan, for slices grow
# and shrink, without the first fifth, when they warm up.
report_memory() { # SECONDS
    printf '\n%-14s %9s %9s %9s %9s %10s\n' process 'lived min' 'first MB' 'last MB' 'most MB' 'MB per h'
    awk -v whole="$1" '
        function process() { return $2 " " $3 }
        FNR == NR { if (!(process() in born)) born[process()] = $1; died[process()] = $1; next }
        $1 - born[process()] < (died[process()] - born[process()]) / 5 { next }
        {
            p = process(); held = $4 / 1e6
            if (!n[p]++) first[p] = held
            last[p] = held; if (held > most[p]) most[p] = held
            x = ($1 - born[p]) / 3600; y = ($4 - $5) / 1e6
            sx[p] += x; sy[p] += y; sxx[p] += x * x; sxy[p] += x * y
        }
        END {
            for (p in n) {
                if (died[p] - born[p] < whole / 2 || n[p] < 3) continue
                split(p, f, " ")
                printf "%-14s %9.1f %9.2f %9.2f %9.2f %10.2f\n", f[1], (died[p] - born[p]) / 60, first[p], last[p], most[p],
                    (n[p] * sxy[p] - sx[p] * sy[p]) / (n[p] * sxx[p] - sx[p] ^ 2)
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

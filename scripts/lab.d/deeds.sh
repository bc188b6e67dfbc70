# shellcheck shell=bash disable=SC2154  # set by the script: $scratch, $folder, $microbatch, $settle, $fleet_boards and options
# Deeds to a fleet under a stream, and a row of the table for each: what the coordinator's events say of its times, and what the
# answers say of its price.

# ---- the coordinator's events ----

log_mark() { marked=$(stat -c %s "$folder/coordinator.log"); }
events() { tail -c "+$((marked + 1))" "$folder/coordinator.log" | awk -f "$parts/events.awk"; } # since the mark

# Since the mark so many boards were lost (or left), so many joined, and nothing is under way any more.
is_settled() { # GONE JOINED
    events | awk -v gone="$1" -v joined="$2" '
        $2 == "lost" || $2 == "left" { gone-- }
        $2 == "joined" { joined-- }
        { open = $2 == "kept" || $2 == "serving" ? 0 : $2 == "failed" || $2 == "replayed" ? open : 1 }
        END { exit gone > 0 || joined > 0 || open }'
}
settled() { # GONE JOINED
    local deadline=$((SECONDS + patience))
    until is_settled "$1" "$2"; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.2
    done
}

# ---- status ----

status_boards() { # "NAME" of each that serves, in the pipeline's order
    lab_status_json | sed 's/{"name": /\n&/g' | sed -n 's/^{"name": "\([^"]*\)", "state": "serving", "first": \([0-9]*\).*/\2 \1/p' |
        sort -n | cut -d ' ' -f 2
}
position() { # BOARD: "stage 3 of 16"
    status_boards | awk -v board="$1" '$1 == board { at = NR } END { if (at) print "stage " at " of " NR; else print "spare" }'
}

# ---- rates ----

# Waits until the pipeline is full after FROM and has answered for a while; then $rate, $predicted (images per second, - if not known).
measure_rate() { # FROM
    local deadline=$((SECONDS + patience)) stages
    stages=$(status_boards | wc -l)
    until rate=$(stream_steady "$1" $(((2 * stages + 2) * microbatch)) $((3 * stages * microbatch)) "$settle") && [ -n "$rate" ]; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.3
    done
    measured_until=$EPOCHREALTIME
    read_prediction
}
read_prediction() { predicted=$(lab_status_json | json_value predicted_throughput | awk '{ if ($1 + 0 > 0) printf "%.2f\n", $1; else print "-" }'); }

# ---- rows ----

# Seconds and images per second; docs/LAB.md tells what each column counts.
heading() {
    printf '%-34s %8s %9s %8s %8s %8s %8s %6s %6s %8s %8s %8s %9s %8s\n' deed detected planning loading serving gap allowed \
        failed wrong before during after predicted share
}

# Up to where it settled. What comes then is another story: a board that drifts while the rate is measured.
events_of_deed() {
    events | awk '{ print } $2 ~ /^(lost|left|leaving|joined)$/ { begun = 1 } begun && ($2 == "kept" || $2 == "serving") { done = 1 }
        done && $2 == "drifted" { exit }'
}

# BEFORE and $rate bound the gap: two periods of the slower one and a second. JUDGED, what gets a star when it is more than is
# wanted: planning, gap or nothing.
table_row() { # DEED START BEFORE JUDGED
    local during gap errors wrong serving
    serving=$(events_of_deed | awk '$2 == "serving" { at = $1 } END { print at }')
    read -r during _ < <(stream_between "$2" "${serving:-$measured_until}")
    read -r _ gap errors wrong < <(stream_between "$2" "$measured_until")
    events_of_deed | awk -v deed="$1" -v start="$2" -v before="$3" -v rate="$rate" -v predicted="$predicted" -v b="$microbatch" \
        -v during="$during" -v gap="$gap" -v failed="$errors" -v wrong="$wrong" -v judged="$4" '
        function since(at, from) { return at ? sprintf("%.2f", at - from) : "-" }
        function figure(value) { return value > 0 ? sprintf("%.2f", value) : "-" }
        $2 ~ /^(lost|left|leaving|joined)$/ && !detected { detected = $1 }
        $2 == "planned" { planned = $1 }
        $2 == "kept" { kept = $1 }
        $2 == "serving" { serving = $1 }
        END {
            slower = rate > 0 && rate < before ? rate : before
            allowed = 2 * b / slower + 1
            if (!planned) planned = kept
            slow = judged == "planning" && planned - detected > 1
            torn = judged == "gap" && gap > allowed
            printf "%-34s %8s %8s%s %8s %8s %7.2f%s %8.2f %6d %6d %8.2f %8s %8s %9s %8s\n", deed, since(detected, start),
                since(planned, detected), (slow ? "*" : " "), (serving ? since(serving, planned) : "-"),
                (kept > serving ? "kept" : since(serving, start)), gap, (torn ? "*" : " "), allowed, failed, wrong, before, (serving ? sprintf("%.2f", during) : "-"), figure(rate), predicted, (predicted > 0 && rate > 0 ? sprintf("%.1f %%", 100 * rate / predicted) : "-")
        }'
}

# Does COMMAND, waits until the fleet serves again, and prints the row.
deed() { # JUDGED TEXT GONE JOINED COMMAND...
    local judged=$1 text=$2 gone=$3 joined=$4 start before=$rate serving
    shift 4
    log_mark
    start=$EPOCHREALTIME
    "$@"
    if ! settled "$gone" "$joined"; then
        printf '%-34s DOES NOT SERVE after %s s: %s\n' "$text" "$patience" "$(lab_status_json | json_value reason)"
        failed=1
        return
    fi
    serving=$(events | awk '$2 == "serving" || $2 == "kept" { at = $1 } END { print at }')
    measure_rate "${serving:-$EPOCHREALTIME}" || { failed=1 && echo "$text: nothing is answered"; }
    table_row "$text" "$start" "$before" "$judged"
}

# ---- what is done to boards ----

kill_boards() { # BOARD...
    local board pids=()
    for board in "$@"; do pids+=("$(daemon_of "$board")"); done
    kill -KILL "${pids[@]}"
}
start_boards() { # BOARD...
    local board
    for board in "$@"; do lab start "$board"; done
}
cut_board() { cable "$(host_value "$1" number)" down; } # BOARD
heal_board() { cable "$(host_value "$1" number)" up; }  # BOARD
# From here on another coordinator counts what it answers.
restart_coordinator() {
    lab kill coordinator
    sleep 1
    stream_since=$EPOCHREALTIME
    lab start coordinator
}

# A board that is no stage costs no new plan when it goes.
kill_and_start() { # TEXT BOARD...
    local text=$1 where
    shift
    where=$(position "$1")
    if [ "$where" = spare ]; then
        kill_boards "$@"
        sleep 1 # until that is told, or it would count with what comes next
        echo "kill $text: a spare, no stage"
    else
        deed planning "kill $text, $where" $# 0 kill_boards "$@"
    fi
    deed gap "start $text" 0 $# start_boards "$@"
}

deaths() {
    local serving board middle
    begin "$count"
    heading
    for what in ${deeds//,/ }; do
        mapfile -t serving < <(status_boards)
        middle=$((${#serving[@]} / 2))
        case $what in
        each) for board in "${fleet_boards[@]}"; do kill_and_start "$board" "$board"; done ;;
        first) kill_and_start "the first" "${serving[0]}" ;;
        last) kill_and_start "the last" "${serving[-1]}" ;;
        two) kill_and_start "two at once" "${serving[middle]}" "${serving[middle - 1]}" ;;
        cut)
            deed planning "cut ${serving[middle]}, $(position "${serving[middle]}")" 1 0 cut_board "${serving[middle]}"
            deed gap "heal ${serving[middle]}" 0 1 heal_board "${serving[middle]}"
            ;;
        coordinator) deed nothing "kill and restart the coordinator" 0 "$count" restart_coordinator ;;
        esac
    done
}

# A board each --interval seconds, whatever the one before it has come to. All boards are profiled before, together: the lab's
# share one machine's caches and memory, and a plan can only be as good as the profiles of boards that are as busy as later.
joins() {
    local board start before next
    start_fleet "$count"
    lab stop
    begin "$from"
    heading
    for board in "${fleet_boards[@]:$from}"; do
        before=$rate
        log_mark
        start=$EPOCHREALTIME next=$((SECONDS + interval))
        start_stage "$board" "$board"
        while [ $SECONDS -lt $next ]; do sleep 0.2; done
        rate_of_join
        table_row "join $board" "$start" "$before" gap
        [ "$rate" != 0 ] || rate=$before
    done
    settled 0 0 || { failed=1 && echo "the last join does not end"; }
    measure_rate "$EPOCHREALTIME"
    echo "with all: $rate images/s measured, $predicted predicted, $(status_boards | wc -l) stages"
}
# What is left of the interval may be too short for a rate: 0 then.
rate_of_join() {
    local serving stages
    measured_until=$EPOCHREALTIME
    serving=$(events | awk '$2 == "serving" || $2 == "kept" { at = $1 } END { print at }')
    stages=$(status_boards | wc -l)
    rate=$(stream_steady "${serving:-$EPOCHREALTIME}" $(((2 * stages + 2) * microbatch)) $((stages * microbatch)) 2)
    rate=${rate:-0}
    read_prediction
}

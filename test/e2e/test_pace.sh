#!/bin/bash
# A board that gets slow while it serves: a new plan comes, with what it takes now, and gives it less; when it has recovered it gets
# more again. No answer is lost, doubled or another one meanwhile.
#
# The board is made slow by stopping its process for three quarters of the time, in turns of a fifth of a second: that makes it at
# least four times as slow as it was, whatever else the machine does, needs no rights, and its heart beats in between. (A busy
# loop beside it would take half of a processor that is idle and nothing of one that has as many busy ones already.)
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

images=(test/data/images/{rgb.jpg,cmyk.jpg,grey_16.png,narrow.jpg})
synth vit-tiny "$scratch/model"
classify expected "$scratch/model" "${images[@]}"

units() { echo $(($(board_value "$1" end) - $(board_value "$1" first))); } # BOARD
above() { awk -v x="$1" -v y="$2" 'BEGIN { exit !(x > y) }'; }
pace_above() { above "$(board_value "$1" pace)" "$2"; }        # BOARD FACTOR
pace_below() { above "$2" "$(board_value "$1" pace)"; }        # BOARD FACTOR
fewer_units() { [ "$(units "$1")" -lt "$2" ] || { status && false; }; } # BOARD COUNT
more_units() { [ "$(units "$1")" -gt "$2" ] || { status && false; }; }  # BOARD COUNT
both_serve() { [ "$(coordinator_value state)" = serving ] && [ "$(units b1)" -gt 2 ] && [ "$(units b2)" -gt 2 ]; }
told() { status | grep -o '{[^{]*"event": "'"$1"'"[^{]*}' | grep "${2-}"; } # EVENT [PATTERN]

start_coordinator --policy optimal --stages 2 --model "$scratch/model" --microbatch 4 --state none --drift-after 1 \
    --write-fleet "$scratch/fleet.yaml"
start_stages 2
wait_until "$PATIENCE" both_serve || give_up "two boards do not serve: $(status)"
before=$(units b2)
cp "$scratch/fleet.yaml" "$scratch/before.yaml"

stream() { # until it is enough; its lines are those of one process, as often as it says
    local runs=0
    while [ ! -e "$scratch/enough" ]; do
        submit --repeat 25 "${images[@]}" || break
        runs=$((runs + 25))
    done >"$scratch/stream"
    echo $runs >"$scratch/runs"
}
throttle() { # PID
    while sleep 0.05; do
        kill -STOP "$1" || break
        sleep 0.15
        kill -CONT "$1"
    done
}

stream &
streaming=$!
wait_until "$PATIENCE" test -s "$scratch/stream" || give_up 'nothing is answered'
throttle "${stage_pid[b2]}" &
throttling=$!
check 'a slow board is noticed' wait_until "$PATIENCE" pace_above b2 2
check 'it is told' told drifted '"board": "b2", "pace": '
check 'a new plan gives it less' wait_until "$PATIENCE" fewer_units b2 "$before"
check 'which says why' told planned 'board b[12] takes [0-9.]* times as long as its profile says'
check 'the fleet file has what was planned with' not cmp -s "$scratch/fleet.yaml" "$scratch/before.yaml"
few=$(units b2)

kill_now $throttling
kill -CONT "${stage_pid[b2]}"
check 'a board that has recovered is noticed, too' wait_until "$PATIENCE" pace_below b2 2
check 'and gets more again' wait_until "$PATIENCE" more_units b2 "$few"

touch "$scratch/enough"
wait_ended $streaming
same_bits() {
    for _ in $(seq "$(cat "$scratch/runs")"); do cat "$scratch/expected"; done | cmp - "$scratch/stream"
}
check 'nothing is lost or doubled, and the bits are as ever' same_bits
check 'nothing was sent again' test "$(coordinator_value items_replayed)" = 0
check 'nothing failed' test "$(coordinator_value items_failed)" = 0
stop_fleet

#!/bin/bash
# Nothing is allocated per microbatch once a fleet is warm: the counts of allocations do not move from one run to the next.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

images=(test/data/images/{rgb.jpg,cmyk.jpg,grey_16.png,rgba_8.png})
synth vit-nano "$scratch/model"
start_fleet 3 --model "$scratch/model" --microbatch 4

# Stages tell their counts with the next heartbeat.
told() { [ "$(board_value b1 items)$(board_value b2 items)$(board_value b3 items)" = "$1$1$1" ]; }
sent=0
microbatches() { # COUNT
    submit --repeat "$1" "${images[@]}" >/dev/null || give_up 'no answer'
    sent=$((sent + $1 * ${#images[@]}))
    wait_until "$PATIENCE" told $sent || give_up "not all $sent images are told of: $(status)"
}
microbatches 100
declare -A before=()
for board in b1 b2 b3; do before[$board]=$(board_value $board allocations); done
count=$(board_value b2 microbatches)
microbatches 50
microbatches 50
for board in b1 b2 b3; do
    check "$board allocates nothing" test "$(board_value $board allocations)" = "${before[$board]}"
done
check 'there were microbatches to allocate for' test $(($(board_value b2 microbatches) - count)) -ge 100

# The coordinator keeps room for as many images as ever waited at once, which may be a few more the next time.
coordinator_is_steady() {
    local count
    for _ in 1 2 3 4 5 6; do
        count=$(coordinator_value allocations)
        microbatches 50
        [ "$(coordinator_value allocations)" != "$count" ] || return 0
    done
    return 1
}
check 'the coordinator allocates nothing' coordinator_is_steady

# An idle fleet sleeps: a loop that spins would take a hundred ticks (of processor time) in a second, sleeping takes none or few.
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
sleeps() { # PID
    local before
    before=$(ticks "$1")
    sleep 2
    [ $(($(ticks "$1") - before)) -lt 60 ]
}
check 'an idle coordinator sleeps' sleeps "$coordinator"
check 'an idle stage sleeps' sleeps "${stage_pid[b1]}"

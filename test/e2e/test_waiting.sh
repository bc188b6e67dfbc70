#!/bin/bash
# Whoever waits is told why: once for each reason, on stderr, and no longer than --patience. A client that is told to end says how
# much was answered.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

image=test/data/images/rgb.jpg
synth vit-nano "$scratch/model"
submitted() { # STATUS OPTION...: what submit says is $scratch/said and $scratch/answers
    local want=$1 status=0
    shift
    run submit --json "$@" >"$scratch/answers" 2>"$scratch/said" || status=$?
    cat "$scratch/said" "$scratch/answers"
    [ $status = "$want" ]
}
says() { [ "$(grep -c -- "$1" "$scratch/said")" = 1 ]; } # PATTERN: once
is_logged() { grep -q -- "$2" "$scratch/$1.log"; }        # WHO TEXT
logged_once() { [ "$(grep -c -- "$2" "$scratch/$1.log")" = 1 ]; }

# ---- no board, too few boards ----

start_coordinator --stages 2 --model "$scratch/model"
begun=$(milliseconds)
check 'no board: submit gives up' submitted 1 --patience 3 $image $image
took=$(($(milliseconds) - begun))
check "no board: when patience is over ($took ms)" test $took -gt 2500 -a $took -lt 9000
check 'no board: it says why, once' says 'waiting up to 3 s: 0 of 2 boards are here\|waiting up to 3 s: no board has joined yet'
check 'no board: every file has its line, which says why' \
    test "$(grep -c '"error": "no answer within 3 s (--patience): .*\(boards are here\|no board\)' "$scratch/answers")" = 2
start_stage b1
check 'a stage says what it waits for' wait_until "$PATIENCE" is_logged b1 'info .*waiting: 1 of 2 boards are here'
sleep 3
check 'once' logged_once b1 'waiting: 1 of 2 boards'
"$STAGECOACH" submit --json $image >"$scratch/answers" 2>"$scratch/said" &
client=$!
check 'one of two boards: submit says so' wait_until "$PATIENCE" says 'waiting up to 60 s: 1 of 2 boards are here'
start_stage b2
check 'and is answered when the other comes' wait_ended $client
check 'with an answer' grep -q '"top"' "$scratch/answers"
start_stage b3
check 'a spare board is told that it is one' wait_until "$PATIENCE" is_logged b3 'waiting: the fleet serves without this board'

# ---- told to end ----

kill_now "${stage_pid[b3]}" # else it would take the place of the one that stands still
for signal in TERM INT; do
    kill -STOP "${stage_pid[b2]}"
    "$STAGECOACH" submit --json --repeat 3 $image >"$scratch/answers" 2>"$scratch/said" &
    client=$!
    has_sent() { [ "$(coordinator_value clients)" = 1 ] && [ "$(($(coordinator_value waiting) + $(coordinator_value in_flight)))" -gt 0 ]; }
    wait_until "$PATIENCE" has_sent || give_up 'nothing is sent'
    kill -$signal $client
    status=0
    wait_ended $client || status=$?
    check "SIG$signal: submit ends with status 1" test $status = 1
    check "SIG$signal: and says how much was answered" says '^stagecoach: interrupted: 0 of 3 images answered$'
    no_client() { [ "$(coordinator_value clients)" = 0 ]; }
    check "SIG$signal: its connection is closed" wait_until "$PATIENCE" no_client
    kill -CONT "${stage_pid[b2]}"
    wait_serving 2
done
stop_fleet

# ---- nobody there ----

start_stage b1 --coordinator tcp://127.0.0.1:1
check 'a stage without a coordinator says so' wait_until "$PATIENCE" is_logged b1 'waiting for the coordinator: tcp://127.0.0.1:1: nothing listens there'
start_stage b2 --insecure --coordinator tcp://no-such-host.invalid:7600
check 'a stage with a wrong name says so' wait_until "$PATIENCE" is_logged b2 'waiting for the coordinator: .*unknown host "no-such-host.invalid"'
sleep 5
check 'once' logged_once b1 'waiting for the coordinator'
check 'submit says so while it tries' submitted 1 --coordinator tcp://127.0.0.1:1 $image
check 'and once' says 'waiting up to 5 s: tcp://127.0.0.1:1: nothing listens there'

#!/bin/bash
# Daemons that die, hang or leave while images stream: what was in flight is sent again, so that every file gets exactly one
# answer, with the same bits as ever; nothing hangs. A client sends again what a coordinator took with it.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

images=(test/data/images/{rgb.jpg,cmyk.jpg,grey_16.png,rgba_8.png,exif_6.jpg,large.jpg,narrow.jpg,progressive.jpg})
synth vit-nano "$scratch/model"
classify expected "$scratch/model" "${images[@]}"

stream_options=()
# A stream of images in the background, under way when it returns.
stream() { # REPEAT
    total=$(($1 * ${#images[@]}))
    rm -f "$scratch/stream"
    "$STAGECOACH" submit "${stream_options[@]}" --json --logits --repeat "$1" "${images[@]}" >"$scratch/stream" 2>"$scratch/submit.log" &
    client=$!
    wait_until "$PATIENCE" test -s "$scratch/stream" || give_up 'nothing is answered'
}
# The line of each file is there, in order, and says what one process says or has an error: "TOTAL answered ERRORS".
tally() {
    awk 'NR == FNR { want[count++] = $0; next }
         {
             line = want[(FNR - 1) % count]
             file = line; sub(/, .*/, "", file)
             if ($0 == line) good++
             else if (index($0, file ", \"error\": \"") == 1) errors++
             else { print "line " FNR " is not of " file ": " $0; exit }
         }
         END { print good + errors + 0, good + 0, errors + 0 }' "$scratch/expected" "$scratch/stream"
}
every_file_has_its_line() { [ "$(tally | cut -d ' ' -f 1)" = "$total" ] || { tally && false; }; }
no_error() { [ "$(tally)" = "$total $total 0" ] || { tally && grep -m 3 '"error"' "$scratch/stream" && false; }; }
replayed() { [ "$(coordinator_value items_replayed)" -gt "$1" ] || { echo "$(coordinator_value items_replayed) replayed" && false; }; }
stream_ends_with() { # STATUS
    local status=0
    wait_ended "$client" || status=$?
    [ "$status" = "$1" ] || { echo "exit status $status" && false; }
}
answers_as_ever() { submit "${images[@]}" | cmp - "$scratch/expected"; }
silent_for() { # STAGE MS
    [ "$(board_value "$1" silent_ms)" -ge "$2" ]
}
not_serving() { [ "$(coordinator_value state)" != serving ]; }

start_fleet 3 --model "$scratch/model" --microbatch 4

for stage in b1 b2 b3; do
    before=$(coordinator_value items_replayed)
    stream 400
    kill -STOP "${stage_pid[$stage]}" # so that something is in flight for certain when it dies
    sleep 0.2
    kill_now "${stage_pid[$stage]}"
    check "$stage dies: it is noticed" wait_until 5 not_serving
    start_stage $stage
    check "$stage dies: serves again when it is back" wait_serving 3
    check "$stage dies: the stream ends with status 0" stream_ends_with 0
    check "$stage dies: every file is answered once, with the same bits" no_error
    check "$stage dies: what was in flight was sent again" replayed "$before"
    check "$stage dies: answers as ever" answers_as_ever
done

# What `scripts/bench_lab` asks after a run that is to count.
undisturbed() {
    (
        export home=.
        # shellcheck source=scripts/lab.d/measure.sh
        . scripts/lab.d/measure.sh
        lab_status_json() { status; }
        undisturbed
    )
}
disturbed_by() { undisturbed >"$scratch/why" && return 1 || grep -F -- "$1" "$scratch/why" || { cat "$scratch/why" && false; }; }
check 'a benchmark does not count what was disturbed, and says by what' disturbed_by b3

stream 400
kill -TERM "${stage_pid[b2]}"
check 'a stage leaves: it ends with status 0' wait_ended "${stage_pid[b2]}"
start_stage b2
check 'a stage leaves: the stream ends with status 0' stream_ends_with 0
check 'a stage leaves: nothing is lost' no_error

stream 800
stopped=$(milliseconds)
kill -STOP "${stage_pid[b3]}"
check 'a stage hangs: it is noticed' wait_until 20 not_serving
took=$(($(milliseconds) - stopped))
check "a stage hangs: noticed after about 3 s ($took ms)" test $took -gt 2000 -a $took -lt 6000
kill -CONT "${stage_pid[b3]}"
check 'a stage hangs: serves again when it goes on' wait_serving 3
check 'a stage hangs: the stream ends with status 0' stream_ends_with 0
check 'a stage hangs: every file is answered once, with the same bits' no_error
check 'a stage hangs: answers as ever' answers_as_ever

kill_now "${stage_pid[b1]}" "${stage_pid[b2]}" "${stage_pid[b3]}"
check 'all stages die: it is noticed' wait_until 5 not_serving
start_stages 3
check 'all stages die: serves again when they are back' wait_serving 3
check 'all stages die: answers as ever' answers_as_ever

stream 400
kill_now "$client"
check 'a client dies: the others are answered' answers_as_ever

stream 1000
kill -TERM "$coordinator"
check 'the coordinator is told to end: status 0' wait_ended "$coordinator"
check 'the coordinator is told to end: nothing failed' grep -q 'done: [0-9]* items answered, 0 failed' "$scratch/coordinator.log"
# The stages and the client wait for a coordinator to come back, and take it for what it is: another one.
LISTEN=$STAGECOACH_COORDINATOR start_coordinator --stages 3 --model "$scratch/model" --microbatch 4
check 'another coordinator at the same address: the stream ends with status 0' stream_ends_with 0
check 'another coordinator at the same address: every file is answered once, with the same bits' no_error
check 'another coordinator at the same address: answers as ever' answers_as_ever

stream 1000
kill_now "$coordinator"
check 'the coordinator dies: the client says that it waits' wait_until 5 grep -q 'waiting up to 60 s' "$scratch/submit.log"
LISTEN=$STAGECOACH_COORDINATOR start_coordinator --stages 3 --model "$scratch/model" --microbatch 4
check 'the coordinator dies: the stream ends with status 0' stream_ends_with 0
check 'the coordinator dies: every file is answered once, with the same bits' no_error
check 'the coordinator dies: nothing is fetched again' test "$(board_value b1 fetched_bytes)" = 0
check 'the coordinator dies: answers as ever' answers_as_ever

stream_options=(--patience 1)
stream 1000
kill_now "$coordinator"
check 'no coordinator comes back: the stream ends with status 1' stream_ends_with 1
check 'no coordinator comes back: every file has its line' every_file_has_its_line
LISTEN=$STAGECOACH_COORDINATOR start_coordinator --stages 3 --model "$scratch/model" --microbatch 4 --silence 15
check 'no coordinator comes back: a later one serves' wait_serving 3

stream_options=()
stream 400
kill -STOP "${stage_pid[b2]}"
check 'a long silence is allowed: a board says nothing for 3.5 s' wait_until 20 silent_for b2 3500
check 'a long silence is allowed: microbatches wait for it' test "$(coordinator_value in_flight)" -gt 0
kill -CONT "${stage_pid[b2]}"
check 'a long silence is allowed: the stream ends with status 0' stream_ends_with 0
check 'a long silence is allowed: every file is answered once, with the same bits' no_error
check 'a long silence is allowed: nothing was sent again' test "$(coordinator_value items_replayed)" = 0
check 'a long silence is allowed: a benchmark counts it' undisturbed

for stage in b1 b2 b3; do
    kill -TERM "${stage_pid[$stage]}"
    check "$stage is told to end: status 0" wait_ended "${stage_pid[$stage]}"
done

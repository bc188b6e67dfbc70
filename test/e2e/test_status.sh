#!/bin/bash
# Seeing a fleet, and taking a board out of it: `status --watch` and what happened last, the log as JSON lines, and `drain`,
# which loses nothing.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

images=(test/data/images/{rgb.jpg,cmyk.jpg,grey_16.png,rgba_8.png,exif_6.jpg,large.jpg,narrow.jpg,progressive.jpg})
synth vit-nano "$scratch/model"
classify expected "$scratch/model" "${images[@]}"

says() { # TEXT FILE: as it is
    grep -qF -- "$1" "$2" || { tail -n 3 "$2" && false; }
}
blocks() { [ "$(grep -c '^ViT.*  epoch ' "$scratch/watched")" -ge "$1" ]; } # at least so many
exits_with() { # STATUS COMMAND...: and what it says is in $scratch/said
    local want=$1 status=0
    shift
    "$@" >"$scratch/said" 2>&1 || status=$?
    [ "$status" = "$want" ] || { echo "exit status $status" && cat "$scratch/said" && false; }
}
one_line() { [ "$(wc -l <"$scratch/said")" = 1 ] || { cat "$scratch/said" && false; }; }
absent() { [ "$(board_value "$1" state)" = absent ]; }

# ---- watching ----

start_fleet 2 --model "$scratch/model" --microbatch 4 --log-format json
start_stage b3
is_spare() { [ "$(board_value b3 state)" = spare ]; }
check 'one board more is a spare' wait_until "$PATIENCE" is_spare

"$STAGECOACH" status --watch >"$scratch/watched" 2>"$scratch/watch.log" &
watch=$!
check 'a watch prints a block per second' wait_until "$PATIENCE" blocks 2
check 'a watch that is no terminal gets no escapes' not grep -q $'\033' "$scratch/watched"
check 'boards are told to have joined' says 'board b1 joined: 1 threads, ' "$scratch/watched"
asked_once() { [ "$(status | grep -o '"event": "planning"' | wc -l)" = 1 ]; }
check 'a plan is asked for once' asked_once
check 'an epoch is told to serve' says 'epoch 1 serves with 2 stages, ' "$scratch/watched"
before=$(grep -c 'epoch 1 ' "$scratch/watched")
kill_now "$coordinator"
check 'a watch waits for a coordinator that is gone' wait_until "$PATIENCE" says 'waiting for a coordinator' "$scratch/watched"
LISTEN=$STAGECOACH_COORDINATOR start_coordinator --stages 2 --model "$scratch/model" --microbatch 4 --log-format json
wait_serving 2 || give_up "does not serve again: $(status)"
port=${STAGECOACH_COORDINATOR##*:}
behind=${STAGECOACH_COORDINATOR%:*}:$((port + 1))
results_behind() { [ "$(coordinator_value data_endpoint)" = "$behind" ] || says "port behind --listen: $behind: port in use" "$scratch/coordinator.log"; }
check 'results come in at the port behind the one that was given, or it is told who has it' results_behind
listens_or_ends() { [ -s "$scratch/second" ] || ! alive "$second"; }
neighbour() { # the port behind its own is the first one's
    "$STAGECOACH" coordinator --listen "${STAGECOACH_COORDINATOR%:*}:$((port - 1))" --endpoint-file "$scratch/second" --state none \
        --model "$scratch/model" 2>"$scratch/second.log" &
    second=$!
    wait_until "$PATIENCE" listens_or_ends
    kill_now "$second"
    if [ -s "$scratch/second" ]; then
        says "port behind --listen: $STAGECOACH_COORDINATOR: port in use" "$scratch/second.log"
    else # somebody else has the port in front
        says ":$((port - 1)): port in use" "$scratch/second.log"
    fi
}
check 'where that is taken, at another one' neighbour
more() { [ "$(grep -c 'epoch 1 ' "$scratch/watched")" -gt $((before + 3)) ]; }
check 'a watch goes on with the next coordinator' wait_until "$PATIENCE" more
kill -INT "$watch"
check 'a watch ends with status 0' wait_ended "$watch"

"$STAGECOACH" status --json --watch 1 >"$scratch/watched" 2>"$scratch/watch.log" &
watch=$!
two_objects() { [ "$(grep -c '^{.*"events": \[{.*}\]}$' "$scratch/watched")" -ge 2 ]; }
check 'a watch in JSON is an object per line' wait_until "$PATIENCE" two_objects
kill -TERM "$watch"
check 'a watch in JSON ends with status 0' wait_ended "$watch"
check 'seconds without --watch: a usage error' exits_with 2 run status 5
check 'seconds that are none: a usage error' exits_with 2 run status --watch 0
check 'a usage error is one line' one_line

check 'every line of a JSON log is an object' not grep -qv '^{"time": "[0-9TZ:.-]*", "level": "[a-z]*", "speaker": "coordinator", .*"text": ".*"}$' "$scratch/coordinator.log"
check 'the log has the events with their members' grep -q '"event": "serving", "number": [0-9]*, "epoch": 1, "stages": 2, "took_s": [0-9.]*, .*"text": "epoch 1 serves' "$scratch/coordinator.log"
check 'another format: a usage error' exits_with 2 run coordinator --model "$scratch/model" --log-format xml

stop_fleet

# ---- draining ----

# Anew, so that b1 and b2 serve: those that came back first did before, and a drained spare would prove nothing.
start_fleet 2 --model "$scratch/model" --microbatch 4 --log-format json
start_stage b3
wait_until "$PATIENCE" is_spare || give_up "b3 is no spare: $(status)"

stream() { # in the background, under way when it returns
    rm -f "$scratch/stream"
    "$STAGECOACH" submit --json --logits --repeat 400 "${images[@]}" >"$scratch/stream" 2>"$scratch/submit.log" &
    client=$!
    wait_until "$PATIENCE" test -s "$scratch/stream" || give_up 'nothing is answered'
}
same_bits() {
    for _ in $(seq 400); do cat "$scratch/expected"; done | cmp - "$scratch/stream"
}
stream
check 'a board is drained under load' exits_with 0 run drain b1
check 'a drain says that the board has left' says 'board b1 has left' "$scratch/said"
check 'a drained stage ends with status 0' wait_ended "${stage_pid[b1]}"
check 'a drained stage says why' says 'drained: the coordinator let this board go' "$scratch/b1.log"
check 'the stream goes on with the spare, and ends with status 0' wait_ended "$client"
check 'nothing is lost, and the bits are as ever' same_bits
check 'nothing was sent again' test "$(coordinator_value items_replayed)" = 0
check 'nothing failed' test "$(coordinator_value items_failed)" = 0
check 'a drained board is absent' absent b1
check 'the log tells why the plan was made anew' grep -q '"event": "planned", .*"reason": "stage b1 is drained"' "$scratch/coordinator.log"

check 'a board that the others need is not drained' exits_with 1 run drain b2
check 'that is said in one line' one_line
check 'and how to do it all the same' says '--force' "$scratch/said"
check 'it serves on' serving 2
check 'a board that is not there cannot be drained' exits_with 1 run drain b1
check 'that is said in one line, too' one_line
check 'so does one that never was' exits_with 1 run drain nobody
check 'with its name' says 'no board named nobody is here' "$scratch/said"
check 'a name that is none: a usage error' exits_with 2 run drain 'a b'
check 'no name: a usage error' exits_with 2 run drain
check 'a board is drained by force' exits_with 0 run drain --force b2
check 'and ends with status 0' wait_ended "${stage_pid[b2]}"
start_stage b1
start_stage b2
check 'drained boards may come back' wait_serving 2
answers_as_ever() { submit "${images[@]}" | cmp - "$scratch/expected"; }
check 'and answer as ever' answers_as_ever
stop_fleet

# ---- with keys ----

start_coordinator --model "$scratch/model" --stages 2 --secure --microbatch 4
for board in b1 b2 b3; do
    start_stage $board --token "$(run keys token)"
done
wait_serving 2 || give_up "does not serve with keys: $(status)"
elsewhere=(--state "$scratch/elsewhere")
check 'a client from elsewhere sees' exits_with 0 run status "${elsewhere[@]}" --token "$(run keys token --role client)"
check 'a client from elsewhere may not drain' exits_with 1 run drain b1 "${elsewhere[@]}"
check 'and is told who may' says 'only the user who runs the coordinator' "$scratch/said"
check 'the board is still there' not absent b1
all_three() { [ "$(status | grep -o '"state": "\(serving\|spare\)", "first"' | wc -l)" = 3 ]; }
check 'all three boards are here' wait_until "$PATIENCE" all_three
check 'the user of the coordinator may' exits_with 0 run drain b1
check 'with keys, too, a drained stage ends with status 0' wait_ended "${stage_pid[b1]}"

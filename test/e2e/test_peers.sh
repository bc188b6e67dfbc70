#!/bin/bash
# Weights come from other boards that have them: the coordinator sends nothing that a board could lend, a board that dies,
# is silent, has lost its files or lends wrong bytes costs nothing but time, and with keys only boards of the fleet may ask.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

image=test/data/images/rgb.jpg
synth vit-nano "$scratch/model"
classify expected "$scratch/model" $image

answers() { submit $image | cmp - "$scratch/expected"; }
log_says() { grep -q -- "$2" "$scratch/$1.log" || { tail -n 5 "$scratch/$1.log" && false; }; } # WHO TEXT
sent() { coordinator_value weights_sent_bytes; }
is_here() { [ -n "$(board_value "$1" state)" ]; }
fetched() { board_value "$1" fetched_bytes; }
tensors() { find "$scratch/cache-$1/tensors" -type f; } # BOARD
loads() { log_says "$1" 'fetching [0-9]* tensors'; }

# b1 has the whole model from now on, and its cache is put by for every test.
start_coordinator --model "$scratch/model" --stages 1
start_stage b1
wait_serving 1 || give_up "does not serve: $(status)"
whole=$(sent)
check 'the coordinator counts what it sends' [ "$whole" = "$(fetched b1)" ]
check 'which is not nothing' [ "$whole" -gt 0 ]
stop_fleet
cp -r "$scratch/cache-b1" "$scratch/whole"
holder() { # NAME: a cache with the whole model
    rm -rf "$scratch/cache-$1"
    cp -r "$scratch/whole" "$scratch/cache-$1"
}
empty() { rm -rf "$scratch/cache-$1"; } # NAME

# A coordinator for two; the holder is there and waits for an empty board.
start_pair() { # OPTION...: of the coordinator
    stop_fleet
    holder b1
    empty b2
    start_coordinator --model "$scratch/model" --stages 2 "$@"
    start_stage b1
    wait_until "$PATIENCE" is_here b1 || give_up "b1 does not join: $(status)"
}

start_pair
start_stage b2
wait_serving 2 || give_up "two do not serve: $(status)"
check 'a board takes its tensors from another' [ "$(fetched b2)" -gt 0 ]
check 'and the coordinator sends none' [ "$(sent)" = 0 ]
check 'the answers are those of one process' answers
check 'which says so' log_says b2 'MB came from other boards, 0.0 MB from the coordinator'

# What a board has loaded since its hello is known: when a third one joins, and all get other slices, nothing is sent twice.
stop_fleet
empty b1
empty b2
empty b3
start_coordinator --model "$scratch/model"
start_stage b1
wait_serving 1 || give_up "one does not serve: $(status)"
check 'the first board has all from the coordinator' [ "$(sent)" = "$whole" ]
start_stage b2
wait_serving 2 || give_up "two do not serve: $(status)"
start_stage b3
wait_serving 3 || give_up "three do not serve: $(status)"
check 'those that join later have all from it' [ "$(sent)" = "$whole" ]
check 'and something' [ "$(fetched b3)" -gt 0 ]
check 'and answer as one process does' answers

# Strangers at the port that lends.
if [ -x "$HELPER" ]; then
    port=$(sed -n 's/.*lending weights at \(tcp:[^ ,]*\).*/\1/p' "$scratch/b1.log")
    check 'garbage at the port that lends' timeout "$PATIENCE" "$HELPER" raw "$port"
    timeout "$PATIENCE" "$HELPER" control "$port" 2>/dev/null # it is hung up on
    turned_away() { board_value b1 malformed | grep -q '[1-9]'; }
    check 'is counted' wait_until "$PATIENCE" turned_away
    check 'and changes nothing' answers
fi

start_pair --cuts 7 # no MLP is on both, which one could lend the other
tensors b1 | xargs rm
start_stage b2
wait_serving 2 || give_up "does not serve after the files went: $(status)"
check 'a holder that has lost its files' answers
check 'is replaced by the coordinator' [ "$(sent)" = "$(($(fetched b1) + $(fetched b2)))" ]

start_pair
tensors b1 | while read -r file; do printf 'poison' | dd of="$file" conv=notrunc status=none; done
start_stage b2
wait_serving 2 || give_up "does not serve from a poisoned holder: $(status)"
check 'poisoned tensors are noticed' log_says b2 'what a board lent does not match its hash; asking the coordinator'
check 'and come from the coordinator' [ "$(sent)" -gt 0 ]
check 'nobody computes with them' answers
cached_right() {
    local file
    for file in $(tensors b2); do cmp "$file" "$scratch/whole/tensors/${file##*/}" || return 1; done
}
check 'nor keeps them' cached_right

# Two spares stand beside a stage that serves; when it dies the first of them, which is empty, loads from the second. That
# one has stopped, so that what is asked of it is never answered, and is then killed, or stays silent.
start_three() {
    stop_fleet
    empty b1
    empty b2
    holder b3
    start_coordinator --model "$scratch/model" --stages 1
    start_stage b1
    wait_serving 1 || give_up "b1 does not serve: $(status)"
    start_stage b2
    wait_until "$PATIENCE" is_here b2 || give_up "b2 does not join: $(status)"
    start_stage b3
    wait_until "$PATIENCE" is_here b3 || give_up "b3 does not join: $(status)"
    before=$(sent)
    kill -STOP "${stage_pid[b3]}"
    kill_now "${stage_pid[b1]}"
    wait_until "$PATIENCE" loads b2 || give_up "b2 does not load: $(status)"
}

start_three
kill_now "${stage_pid[b3]}"
wait_serving 1 || give_up "does not serve after its holder died: $(status)"
check 'a holder dies while it is asked' log_says b2 'lends nothing (any more); going on without it'
check 'and the coordinator sends all' [ "$(($(sent) - before))" = "$whole" ]
check 'the answers are right' answers

start_three
wait_serving 1 || give_up "does not serve with a silent holder: $(status)"
check 'a holder says nothing' log_says b2 'lends nothing (any more); going on without it'
check 'and the coordinator sends all then, too' [ "$(($(sent) - before))" = "$whole" ]
check 'the answers are right again' answers
kill -CONT "${stage_pid[b3]}"

# With keys.
start_secure() { # NAME...: with a token of its own each
    local name
    for name; do start_stage "$name" --token "$(run keys token)"; done
}
stop_fleet
holder b1
empty b2
start_coordinator --secure --model "$scratch/model" --stages 2
start_secure b1
wait_until "$PATIENCE" is_here b1 || give_up "b1 does not join with its token: $(status)"
start_secure b2
wait_serving 2 || give_up "two with keys do not serve: $(status)"
check 'a board takes its tensors from another over CURVE' [ "$(fetched b2)" -gt 0 ]
check 'and the coordinator sends none over CURVE' [ "$(sent)" = 0 ]
check 'the answers are those of one process over CURVE' answers

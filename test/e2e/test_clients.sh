#!/bin/bash
# Clients that go while their images wait, that come back, and that come in crowds: what nobody waits for is not computed,
# each answer comes once, and boards find room.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

[ -x "$HELPER" ] || { echo "skip clients: $HELPER is not built" && exit 0; }
image=test/data/images/rgb.jpg
synth vit-nano "$scratch/model"
classify expected "$scratch/model" $image
hostile() { timeout --kill-after=5 "$PATIENCE" "$HELPER" "$@"; }
is() { [ "$(coordinator_value "$1")" = "$2" ]; } # KEY VALUE
answers() { submit "$@" $image | cmp - "$scratch/expected"; }

# ---- a client that goes ----

start_coordinator --stages 2 --model "$scratch/model" --microbatch 4
"$STAGECOACH" submit --quiet --repeat 60 $image >"$scratch/gone" 2>&1 &
client=$!
waits() { [ "$(coordinator_value waiting)" -ge 20 ]; }
check 'images wait for boards' wait_until "$PATIENCE" waits
kill_now $client
check 'when their client goes, they are forgotten' wait_until "$PATIENCE" is waiting 0
check 'none of them failed' is items_failed 0

# ---- one that comes back ----

hostile again "$STAGECOACH_COORDINATOR" $image 32 >"$scratch/again" &
client=$!
check 'a client submits, hangs up, comes back and submits anew' wait_until "$PATIENCE" grep -q 'submitted twice' "$scratch/again"
check 'what it submitted first is forgotten' wait_until "$PATIENCE" is waiting 32
start_stages 2
wait_serving 2 || give_up "two boards do not serve: $(status)"
check 'it is answered' wait_ended $client
check 'with each answer once' grep -qx '32 answers, each once' "$scratch/again"
check 'what was forgotten was not computed' is items_done 32
check 'nothing is left' is waiting 0
again_while_serving() { [ "$(hostile again "$STAGECOACH_COORDINATOR" $image 100 | tail -n 1)" = '100 answers, each once' ]; }
check 'the same while it serves, with some of them under way' again_while_serving
check 'others are answered as ever' answers
stop_fleet

# ---- a fleet that grows under a client ----

# Without --stages the window is (2 * boards + 4) microbatches for the boards that were ever here and one more, and 16.
start_coordinator --model "$scratch/model" --microbatch 16
"$STAGECOACH" submit --quiet --repeat 400 $image >"$scratch/stream" 2>&1 &
client=$!
check 'a client of no boards has room for 112 images' wait_until "$PATIENCE" is waiting 112
"$HELPER" deaf "$STAGECOACH_COORDINATOR" b1 >/dev/null 2>&1 &
check 'when a board joins, for 32 more' wait_until "$PATIENCE" is waiting 144
stop_fleet

start_coordinator --model "$scratch/model" --microbatch 16 --in-flight 30
"$STAGECOACH" submit --quiet --repeat 600 $image >"$scratch/stream" 2>&1 &
check 'where 30 microbatches may be under way, for as many, two more and 16 images' wait_until "$PATIENCE" is waiting 528
stop_fleet

# ---- a crowd ----

( # with few descriptors to begin with
    ulimit -S -n 256
    exec "$STAGECOACH" coordinator --policy even --model "$scratch/model" --stages 1 --listen tcp://127.0.0.1:0 \
        --endpoint-file "$scratch/endpoint.few" 2>"$scratch/coordinator.log"
) &
wait_until "$PATIENCE" test -s "$scratch/endpoint.few" || give_up 'the coordinator does not start'
STAGECOACH_COORDINATOR=$(cat "$scratch/endpoint.few")
"$HELPER" crowd "$STAGECOACH_COORDINATOR" 1100 >"$scratch/crowd" &
if [ "$(ulimit -H -n)" = unlimited ] || [ "$(ulimit -H -n)" -ge 4096 ]; then
    check 'more clients than there is room for are here' wait_until "$PATIENCE" grep -q here "$scratch/crowd"
    start_stage b1
    check 'a board finds room' wait_serving 1
else
    echo "skip a crowd: this user may have $(ulimit -H -n) descriptors only"
fi

#!/bin/bash
# A coordinator that measures its boards and links, plans with that, tells predicted beside measured, keeps profiles for the next
# start, and survives boards that die while they are measured and links that do not exist.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

images=(test/data/images/{rgb.jpg,cmyk.jpg,grey_16.png,narrow.jpg})
synth vit-tiny "$scratch/model"
classify expected "$scratch/model" "${images[@]}"
answers_right() { submit "${images[@]}" | cmp - "$scratch/expected"; }
logged() { grep -q "$1" "$scratch/coordinator.log"; } # PATTERN
measured_lines() { grep -c 'board b[0-9] measured: ' "$scratch/coordinator.log"; }
profiles() { find "$scratch/state" -name 'b*.json' | wc -l; }
state=$scratch/state
# Policy optimal may leave boards out where the plan is no slower without them.
serving_some() { [ "$(coordinator_value state)" = serving ]; }
wait_serving_some() { wait_until "$PATIENCE" serving_some; }
start_measured() { # STAGES OPTION...: a fleet by policy optimal
    local stages=$1
    shift
    start_coordinator --policy optimal --stages "$stages" --model "$scratch/model" --microbatch 4 --state "$state" "$@"
    start_stages "$stages"
}

# ---- the first start: everything is measured ----

start_measured 3 --write-fleet "$scratch/fleet.yaml"
check 'measures, then serves' wait_serving_some
check 'each board is measured' test "$(measured_lines)" = 3
check 'six links, in both directions' logged 'links: [0-9]* to [0-9]* Mbit/s'
check 'says what it predicts' logged 'predicted: [0-9.]* m\?s for a microbatch of 4, [0-9.]* images/s'
check 'the answers are those of one process' answers_right
check 'profiles are kept' test "$(profiles)" = 3

positive() { awk -v x="$1" 'BEGIN { exit !(x > 0) }'; } # NUMBER
stage_times() { # of every stage that serves, predicted and measured are told
    local stage serving=0
    for stage in b1 b2 b3; do
        [ "$(board_value $stage state)" = serving ] || continue
        serving=$((serving + 1))
        positive "$(board_value $stage predicted_compute_s)" && positive "$(board_value $stage predicted_period_s)" || return 1
        positive "$(board_value $stage measured_compute_s)" || return 1
    done
    [ $serving -gt 0 ]
}
streams() { submit --repeat 30 "${images[@]}" >"$scratch/answers" || give_up 'a stream fails'; }
streamed_times() { stage_times || { streams && stage_times; }; } # a new plan, should one be made, is measured anew
streams
check 'predicted beside measured for each stage' wait_until "$PATIENCE" streamed_times
period() { positive "$(coordinator_value predicted_period_s)" && positive "$(coordinator_value predicted_throughput)"; }
check 'predicted period of the pipeline' period
# The coordinator prepares the images itself: what that takes counts, and is named where it is the most.
counts_preparation() {
    local planned preparing predicted bottleneck
    planned=$(coordinator_value planned_period_s) preparing=$(coordinator_value preparation_period_s)
    predicted=$(coordinator_value predicted_period_s) bottleneck=$(coordinator_value bottleneck)
    awk -v plan="$planned" -v preparing="$preparing" -v predicted="$predicted" -v bottleneck="$bottleneck" 'BEGIN {
        slow = preparing > plan
        exit !(preparing > 0 && predicted == (slow ? preparing : plan) && (bottleneck == "preparation") == slow && bottleneck != "") }' ||
        { echo "$planned $preparing $predicted $bottleneck" && false; }
}
check 'preparation of images counts' counts_preparation
as_text() { run status | grep -q '^pipeline .* predicted [0-9.]* images/s'; }
check 'as text, too' as_text
check 'nothing was turned away' test "$(coordinator_value malformed)" = 0

replans() { # the fleet file makes the same plan
    run plan --model "$scratch/model" --fleet "$scratch/fleet.yaml" --microbatch 4 --json >"$scratch/plan" || return 1
    local planned live
    planned=$(value period_s <"$scratch/plan")
    live=$(coordinator_value planned_period_s)
    awk -v a="$planned" -v b="$live" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < (1e-6 * b) ^ 2) }' || { echo "$planned, $live" && false; }
}
check 'the fleet file that it writes plans to the same period' replans

# ---- a board that starts anew: known by its profile; its links are measured afresh ----

cp "$state/links.json" "$scratch/links_before"
kill_now "${stage_pid[b2]}"
start_stage b2
profile_was_kept() { logged 'board b2: its profile was kept'; }
check 'a board that is back is not profiled again' wait_until "$PATIENCE" profile_was_kept
check 'and it serves' wait_serving_some
check 'each board was measured once' test "$(measured_lines)" = 3
# It may serve without the new b2 before that one's links are measured.
links_were_kept() { ! cmp -s "$state/links.json" "$scratch/links_before" && [ "$(grep -c '"ends"' "$state/links.json")" = 6 ]; }
check 'its links are measured and kept' wait_until "$PATIENCE" links_were_kept

# ---- the coordinator starts anew: boards and links are known ----

LISTEN=$STAGECOACH_COORDINATOR
export LISTEN
kill_now "$coordinator"
rm -f "$scratch/coordinator.log"
start_coordinator --policy optimal --stages 3 --model "$scratch/model" --microbatch 4 --state "$state"
check 'a coordinator that starts anew serves' wait_serving_some
check 'a coordinator that starts anew measures no board' test "$(measured_lines)" = 0
check 'and knows the links, but for a look at each' logged 'board b[1-3]: 3 of its links were kept'
unset LISTEN
start_stage b4
spare() { [ "$(board_value b4 state)" = spare ]; }
wait_until "$PATIENCE" spare
kill_now "${stage_pid[b1]}"
start_stage b1
again() { [ "$(grep -c 'board b1 joined' "$scratch/coordinator.log")" = 2 ]; }
check 'a board comes back' wait_until "$PATIENCE" again
check 'and it serves' wait_serving_some
check 'links of another process are not those that were kept' test "$(grep -c 'board b[14]: .*of its links' "$scratch/coordinator.log")" -le 1
stop_fleet

# ---- the second start: the profiles are at hand ----

start_measured 3
check 'the second start: serves' wait_serving_some
check 'the second start: nothing is profiled' test "$(measured_lines)" = 0
check 'the second start: says why' logged 'board b1: its profile was kept'
stop_fleet

rm "$state"/b4.*.json
for file in "$state"/*.json; do echo '{"half": ' >"$file"; done # links.json, too
start_measured 3
check 'damaged profiles: serves' wait_serving_some
check 'damaged profiles: one warning each' test "$(grep -c 'kept profile cannot be used' "$scratch/coordinator.log")" = 3
check 'damaged links: one warning' test "$(grep -c 'known of links cannot be used' "$scratch/coordinator.log")" = 1
check 'damaged profiles: measured anew' test "$(measured_lines)" = 3
check 'damaged profiles: written anew' wait_until "$PATIENCE" not grep -q half "$state"/*.json
stop_fleet
rm -rf "$state"

# ---- a board that dies while it is measured ----

measuring() { [ "$(coordinator_value state)" = measuring ]; }
start_measured 3
check 'status says that it measures' wait_until "$PATIENCE" measuring
check 'and how far it is' wait_until "$PATIENCE" logged 'measuring boards: [0-9] of 3 profiled, links 0 of 6'
kill_now "${stage_pid[b2]}"
start_stage b2
check 'a board dies while it is measured: serves when it is back' wait_serving_some
check 'a board dies while it is measured: answers' answers_right
stop_fleet
rm -rf "$state"

start_measured 2
check 'measures' wait_until "$PATIENCE" measuring
kill -TERM "${stage_pid[b1]}"
check 'a board that is told to end while it is measured ends at once' wait_ended "${stage_pid[b1]}"
start_stage b1
check 'and is measured when it is back' wait_serving_some
stop_fleet

# ---- a link that is not there ----

# b2 says that it takes microbatches where nobody listens.
start_coordinator --policy optimal --stages 2 --model "$scratch/model" --microbatch 4 --state "$state" --write-fleet "$scratch/deaf.yaml"
start_stage b1
"$HELPER" deaf "$STAGECOACH_COORDINATOR" b2 >/dev/null 2>&1 &
check 'a board out of reach: serves without it' wait_serving_some
check 'a board out of reach: the links are named' logged 'no link between b[12] and b[12]: '
check 'a board out of reach: is not used' test "$(board_value b2 end)" = 0
check 'a board out of reach: its word of a thousand threads is not believed' not grep -q 1000 "$scratch/deaf.yaml"
check 'a board out of reach: answers' answers_right
stop_fleet

start_coordinator --policy optimal --stages 1 --model "$scratch/model" --microbatch 4 --state none
"$HELPER" deaf "$STAGECOACH_COORDINATOR" b2 >/dev/null 2>&1 &
check 'nobody in reach: no plan' wait_until "$PATIENCE" logged 'no plan for 1 board: '
tried_again() { [ "$(grep -c 'no link between b2 and coordinator' "$scratch/coordinator.log")" -ge 2 ]; }
check 'nobody in reach: it is tried again' wait_until "$PATIENCE" tried_again
stop_fleet

# ---- an open fleet: a board that joins is measured while the others serve ----

rm -rf "$state"
start_coordinator --policy optimal --model "$scratch/model" --microbatch 4 --state "$state"
start_stage b1
check 'an open fleet: one board serves' wait_serving_some
submit --repeat 40 "${images[@]}" >"$scratch/stream" &
client=$!
start_stage b2
joined() { [ "$(coordinator_value epoch)" = 2 ] && serving_some; }
check 'an open fleet: another one joins' wait_until "$PATIENCE" joined
check 'an open fleet: it was measured first' test "$(measured_lines)" = 2
check 'an open fleet: the stream goes on' wait_ended $client
check 'an open fleet: nothing is lost' not grep -q '"error"' "$scratch/stream"
stop_fleet

# b3 stands still while it is measured, so that the plan that the death of b2 asks for would wait for it.
rm -rf "$state"
start_coordinator --policy optimal --model "$scratch/model" --microbatch 4 --state "$state"
start_stages 2
check 'an open fleet of two serves' wait_serving_some
start_stage b3
check 'a third one joins and is measured' wait_until "$PATIENCE" logged 'measuring board b3'
kill -STOP "${stage_pid[b3]}"
kill_now "${stage_pid[b2]}"
check 'a plan does not wait for a newcomer' wait_until "$PATIENCE" logged 'planned without board b3: it is not measured yet'
kill -CONT "${stage_pid[b3]}"
# What was measured while it stood still may say that it is of no use: then it is known, and a spare.
considered() { [ "$(coordinator_value epoch)" -ge 3 ] || logged 'the plan in force stays: '; }
joined_late() { logged 'board b3 measured' && considered && serving_some; }
check 'which comes in when it is measured' wait_until "$PATIENCE" joined_late
stop_fleet

# ---- an open fleet: newcomers that nobody reaches, or that die of being measured ----

rm -rf "$state"
start_coordinator --policy optimal --model "$scratch/model" --microbatch 4 --state "$state"
start_stage b1
wait_serving_some || give_up 'one board does not serve'
"$HELPER" deaf "$STAGECOACH_COORDINATOR" b2 >/dev/null 2>&1 &
unreached() { [ "$(board_value b2 state)" = unreached ]; }
check 'a newcomer out of reach: status says so' wait_until "$PATIENCE" unreached
check 'a newcomer out of reach: and why' grep -q 'out of reach, tried again in [0-9]* s: .* does not answer' <<<"$(status)"
check 'a newcomer out of reach: is not profiled' test "$(measured_lines)" = 1
check 'a newcomer out of reach: the pipeline did not stop for it' test "$(coordinator_value epoch) $(coordinator_value state)" = '1 serving'
start_stage b3
check 'a newcomer out of reach: another one joins' wait_until "$PATIENCE" joined
check 'a newcomer out of reach: is left out' logged 'planned without board b2: '
check 'a newcomer out of reach: answers' answers_right
stop_fleet

rm -rf "$state"
start_coordinator --policy optimal --model "$scratch/model" --microbatch 4 --state "$scratch/model/config.json/state"
"$HELPER" mortal "$STAGECOACH_COORDINATOR" b2 >/dev/null 2>&1 &
start_stage b1
check 'a board that dies of its profile each time: the others serve' wait_serving_some
check 'a board that dies of its profile each time: answers' answers_right
check 'profiles that cannot be kept are an error line, and no more' wait_until "$PATIENCE" logged 'error .*the profile of board b1 is not kept'
stop_fleet

# ---- policies that need no survey ----

start_coordinator --stages 2 --model "$scratch/model" --state "$state"
start_stages 2
check 'policy even: serves' wait_serving 2
check 'policy even: nothing is measured' test "$(grep -c 'measur' "$scratch/coordinator.log")" = 0
stop_fleet
start_coordinator --stages 2 --model "$scratch/model" --state none --survey always
start_stages 2
check 'policy even, --survey always: serves' wait_serving 2
check 'policy even, --survey always: is measured' positive "$(coordinator_value predicted_period_s)"
stop_fleet
start_coordinator --policy optimal --stages 2 --model "$scratch/model" --survey never
start_stages 2
check 'policy optimal, --survey never: serves' wait_serving_some
check 'policy optimal, --survey never: nothing is measured' test "$(grep -c 'measur' "$scratch/coordinator.log")" = 0

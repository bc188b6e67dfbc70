#!/bin/bash
# The living fleet in the lab (scripts/bench_lab deaths, joins, soak) with a small model: nothing is lost, doubled or wrong while boards
# and the coordinator die, cables are cut, boards join and leave. And what judges that is itself tried, without root.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh
# shellcheck source=test/e2e/lab.sh
. test/e2e/lab.sh
export BENCH_FOLDER=$scratch/bench

# ---- the judge of answers; no root ----

printf '%s\n' '{"file": "a", "logits": [1]}' '{"file": "b", "logits": [2]}' >"$scratch/expected"
judged() { # ANSWER...: of two files that were sent twice
    printf '%s\n' "$@" | awk -v expected="$scratch/expected" -v repeat=2 -v offset=0 -f scripts/lab.d/stream_check.awk |
        awk '{ print $2, $3 }' | sort | uniq -c | awk '{ printf "%s%d %s %d", (NR > 1 ? ", " : ""), $1, $2, $3 }'
}
a='{"file": "a", "logits": [1]}' b='{"file": "b", "logits": [2]}'
check 'all is right' test "$(judged "$a" "$b" "$b" "$a")" = '4 right 1'
check 'what is missing is lost' test "$(judged "$a" "$b")" = '1 lost 2, 2 right 1'
check 'what comes twice is doubled' test "$(judged "$a" "$a" "$a" "$b" "$b")" = '1 doubled 1, 5 right 1'
check 'other logits are wrong' test "$(judged "$a" "$a" "$b" '{"file": "b", "logits": [1]}')" = '3 right 1, 1 wrong 1'
check 'an error is no answer' test "$(judged "$a" "$a" "$b" '{"file": "b", "error": "no"}')" = '1 failed 1, 3 right 1'

# ---- the reader of events; no root ----

event_is() { # EXPECTED LINE
    local said
    said=$(awk -f scripts/lab.d/events.awk <<<"$2")
    [ "$said" = "$1" ] || { echo "$said" && false; }
}
check 'an event is read' event_is '1835395200.250 serving 2 3 0.5 - - - stage b lost: a, b' \
    '{"time": "2028-02-29T00:00:00.250Z", "level": "info", "event": "serving", "epoch": 2, "stages": 3, "predicted_period_s": 0.5, "reason": "stage b lost: a, b", "text": "x"}'
check 'other lines are not' event_is '' '{"time": "2028-02-29T00:00:00.250Z", "level": "info", "text": "x"}'

# ---- the rest needs a machine that can ----

claim_lab
cat >"$fleet" <<'END_OF_FLEET'
boards:
  - name: board
    count: 4
    cpu: 20%
    network: 1Gbit/s
END_OF_FLEET
synth vit-nano "$scratch/model"

living() { # ROW OPTION VALUE...: passes when nothing is lost
    scripts/bench_lab "$1" --fleet "$fleet" --model "$scratch/model" --policy even --microbatch 2 --settle 1 "${@:2}" >"$scratch/said" 2>&1
    local status=$?
    [ $status = 0 ] && grep -q '^[0-9]* answers right, 0 lost .* 0 doubled, 0 wrong$' "$scratch/said" && return
    echo "exit status $status" && tail -n 30 "$scratch/said" && false
}
rows() { [ "$(grep -cE "^($1) .* [0-9.]+\*? +[0-9.]+ +0 +0 " "$scratch/said")" = "$2" ] || { cat "$scratch/said" && false; }; } # PATTERN COUNT

check 'boards and the coordinator die, a cable is cut' living deaths --deeds last,two,cut,coordinator
check 'each death has its row' rows 'kill|start|cut|heal' 7
check 'boards join' living joins --from 2 --interval 4
check 'each join has its row' rows join 2
check 'an hour of changes, shortened' living soak --minutes 0.2 --seed 3
check 'memory of every process is told' grep -qE '^coordinator +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ +(-|-?[0-9.]+)$' "$scratch/said"
check 'nothing is left of the lab' test ! -e /run/stagecoach-lab

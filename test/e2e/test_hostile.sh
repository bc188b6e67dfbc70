#!/bin/bash
# Strangers at every port: whatever they say, the daemons live on, count it, keep their size and answer as before.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

[ -x "$HELPER" ] || { echo "skip hostile: $HELPER is not built" && exit 0; }
image=test/data/images/rgb.jpg
synth vit-nano "$scratch/model"
classify expected "$scratch/model" $image
start_fleet 3 --model "$scratch/model" --microbatch 4
epoch=$(coordinator_value epoch)

hostile() { timeout --kill-after=5 "$PATIENCE" "$HELPER" "$@"; }
counted() { # DAEMON: handshake malformed oversized stale
    local line
    case $1 in
    coordinator) line=$(status_lines | head -n 1) ;;
    *) line=$(status_lines | grep "^{\"name\": \"$1\"") ;;
    esac
    sed 's/.*"rejected": {\([^}]*\)}.*/\1/; s/[^0-9 ]//g' <<<"$line"
}
more() { # BEFORE AFTER WHICH...: each of these counters has grown
    local before=$1 after=$2 which
    shift 2
    for which; do
        [ "$(cut -d ' ' -f "$which" <<<"$after")" -gt "$(cut -d ' ' -f "$which" <<<"$before")" ] || return 1
    done
}
grows() { more "$before" "$(counted "$@")" "${@:2}"; } # DAEMON WHICH...
grown() { wait_until "$PATIENCE" grows "$@"; }                   # stages tell their counters twice a second
handshake=2 malformed=4 oversized=6 stale=8             # places of the numbers in what `counted` prints

pids=("$coordinator" "${stage_pid[@]}")
unharmed() {
    local pid
    for pid in "${pids[@]}"; do
        alive "$pid" || return 1
        [ "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")" -lt 400000 ] || { echo "$pid has grown" && return 1; }
    done
    wait_serving 3 && [ "$(coordinator_value epoch)" = "$epoch" ] && submit $image | cmp - "$scratch/expected"
}
assault() { # NAME DAEMON 'WHICH...' ARGUMENT...: the stranger does this to the daemon, whose counters show it
    local name=$1 daemon=$2 which=$3
    shift 3
    before=$(counted "$daemon")
    check "$name: is said" hostile "$@"
    # shellcheck disable=SC2086  # a list of numbers
    [ -z "$which" ] || check "$name: is counted" grown "$daemon" $which
    check "$name: no harm" unharmed
}

control=$STAGECOACH_COORDINATOR
results=$(coordinator_value data_endpoint)
check 'before: answers' unharmed
assault 'no ZMTP at the control port' coordinator "$handshake" raw "$control"
assault 'no ZMTP at the port of results' coordinator "$handshake" raw "$results"
assault 'two thousand connections' coordinator "$handshake" flood "$control" 2000
assault 'two thousand clients that are gone at once' coordinator '' guests "$control" 2000
no_clients() { [ "$(coordinator_value clients)" = 0 ]; }
check 'none of them is remembered' wait_until "$PATIENCE" no_clients
assault 'bad envelopes' coordinator "$malformed" control "$control"
assault 'a board that lies' coordinator "$malformed" board "$control"
refused() { # TEXT ENDPOINT: a board reached there is refused, so
    ! hostile named "$control" "$2" >"$scratch/named" 2>&1 && grep -q -- "$1" "$scratch/named"
}
check 'a board that is reached by name, which somebody would have to look up' refused 'address in numbers' tcp://board.invalid:7601
check 'a board that is reached everywhere' refused 'address in numbers' tcp://0.0.0.0:7601
for stage in b1 b2 b3; do
    endpoint=$(board_value $stage endpoint)
    assault "no ZMTP at $stage" $stage "$handshake" raw "$endpoint"
    assault "five hundred connections to $stage" $stage "$handshake" flood "$endpoint" 500
    assault "bad microbatches to $stage" $stage "$malformed $oversized $stale" \
        data "$endpoint" "$control" "$scratch/model" "$(board_value $stage first)" "$epoch"
done
units=$(board_value b3 end)
assault 'bad results' coordinator "$malformed $stale" data "$results" "$control" "$scratch/model" "$units" "$epoch"

# Several at once while images stream.
submit --repeat 500 $image >"$scratch/stream" &
client=$!
strangers=()
in_background() {
    hostile "$@" 2>/dev/null &
    strangers+=($!)
}
in_background raw "$control"
in_background control "$control"
in_background guests "$control" 500
in_background flood "$results" 300
in_background data "$(board_value b2 endpoint)" "$control" "$scratch/model" "$(board_value b2 first)" "$epoch"
check 'a stream of images meanwhile' wait_ended $client
check 'each of them is answered' test "$(sort "$scratch/stream" | uniq -c | tr -s ' ')" = " 500 $(cat "$scratch/expected")"
wait "${strangers[@]}"
check 'after: no harm' unharmed
check 'after: nobody is remembered' wait_until "$PATIENCE" no_clients

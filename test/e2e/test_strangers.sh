#!/bin/bash
# Four kinds of stranger at a fleet with keys: a port scan with garbage, an unknown key, a wrong token, a stolen client key
# used as a stage. Each is refused, counted in `status`, and logged with its address, and the fleet answers as before.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

[ -x "$HELPER" ] || { echo "skip strangers: $HELPER is not built" && exit 0; }
image=test/data/images/rgb.jpg
state=$HOME/.local/state/stagecoach
synth vit-nano "$scratch/model"
classify expected "$scratch/model" $image
start_coordinator --secure --stages 2 --model "$scratch/model" --microbatch 4
run keys token --uses 2 >"$scratch/token"
start_stages 2 --token-file "$scratch/token"
wait_serving 2 || give_up "a fleet of 2 does not serve: $(status)"
epoch=$(coordinator_value epoch)

counted() { # DAEMON COUNTER
    case $1 in
    coordinator) status_lines | head -n 1 ;;
    *) status_lines | grep "^{\"name\": \"$1\"" ;;
    esac | sed "s/.*\"$2\": \([0-9]*\).*/\1/"
}
grown() { [ "$(counted "$1" "$2")" -gt "$before" ]; }                      # DAEMON COUNTER
says() { tail -n +"$((lines + 1))" "$scratch/$1.log" | grep -q -- "$2"; } # DAEMON TEXT: since the stranger came
unharmed() { wait_serving 2 && [ "$(coordinator_value epoch)" = "$epoch" ] && submit $image | cmp - "$scratch/expected"; }
stranger() { # NAME DAEMON COUNTER LOGGED COMMAND...: does this to the daemon
    local name=$1 daemon=$2 counter=$3 logged=$4
    shift 4
    sleep 1.1 # one line a second
    before=$(counted "$daemon" "$counter") lines=$(wc -l <"$scratch/$daemon.log")
    check "$name is refused" "$@"
    check "$name is counted" wait_until "$PATIENCE" grown "$daemon" "$counter"
    check "$name is logged with its address" wait_until "$PATIENCE" says "$daemon" "$logged"
    check "$name does no harm" unharmed
}
garbage() { timeout --kill-after=5 "$PATIENCE" "$HELPER" raw "$1"; } # ENDPOINT: until each connection is closed
stage_ends() {                                                       # TEXT NAME OPTION...: it ends by itself and says so
    local status=0
    timeout --kill-after=5 20 "$STAGECOACH" stage --name "$2" --threads 1 --cache "$scratch/cache" "${@:3}" >"$scratch/ends" 2>&1 || status=$?
    [ $status = 1 ] && grep -q -- "$1" "$scratch/ends"
}

# A scan finds every port of the fleet.
turned_away='turned away 127\.0\.0\.1:[0-9]*: \(not a peer of ours\|one side has keys\)'
stranger 'garbage at the control port' coordinator handshake "$turned_away" garbage "$STAGECOACH_COORDINATOR"
stranger 'garbage at the port of results' coordinator handshake "$turned_away" garbage "$(coordinator_value data_endpoint)"
for stage in b1 b2; do
    stranger "garbage at $stage" $stage handshake "$turned_away" garbage "$(board_value $stage endpoint)"
done

# A key that nobody admitted.
run keys token --state "$scratch/other" >/dev/null
cp "$scratch/other/coordinator.key" "$state/stage-stranger.key"
unknown=$(sed -n 's/public //p' "$state/stage-stranger.key")
stranger 'an unknown key' coordinator handshake "turned away 127\.0\.0\.1.*: the key $unknown is not admitted" \
    stage_ends "does not admit this board's key" stranger

# A token of this coordinator that lets nobody in.
run keys token >"$scratch/wrong"
run keys revoke "$(run keys list --json | sed -n 's/.*"token": "\([^"]*\)".*/\1/p' | tail -n 1)" 2>"$scratch/revoked" ||
    give_up "a token is not revoked: $(cat "$scratch/revoked")"
stranger 'a wrong token' coordinator handshake 'turned away 127\.0\.0\.1.*: the key .* is not admitted' \
    stage_ends 'does not take this token' guesser --token-file "$scratch/wrong" --state "$scratch/guesser"

# A key that may submit, in the hands of one who would compute.
cp "$state/client.key" "$state/stage-thief.key"
stranger 'a stolen client key used as a stage' coordinator denied 'denied 127\.0\.0\.1:[0-9]*: .*cannot act as a stage, by client local' \
    stage_ends "a client's key cannot act as a stage" thief

check 'status tells it to people, too' grep -q 'turned away' <(run status)
no_secrets() {
    local file
    for file in "$state"/*.key; do not grep -qFe "$(sed -n 's/secret //p' "$file")" "$scratch"/*.log || return 1; done
}
check 'no secret is in a log' no_secrets

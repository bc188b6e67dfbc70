#!/bin/bash
# Keys and tokens: boards join with one command, strangers of every kind are turned away, counted and logged, and a board
# that is revoked under load is out at once while the fleet goes on with the same bits.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

images=(test/data/images/{rgb.jpg,cmyk.jpg,grey_16.png,rgba_8.png})
state=$HOME/.local/state/stagecoach
synth vit-nano "$scratch/model"
classify expected "$scratch/model" "${images[@]}"

keys() { run keys "$@"; }
log_says() { grep -q -- "$2" "$scratch/$1.log" || { tail -n 5 "$scratch/$1.log" && false; }; } # WHO TEXT
is_logged() { wait_until "$PATIENCE" log_says "$@"; }
mark() { marked=$(wc -l <"$scratch/coordinator.log"); }
says_since() { tail -n "+$((marked + 1))" "$scratch/coordinator.log" | grep -q -- "$1"; } # TEXT: the coordinator's log, since the mark
is_logged_since() { wait_until "$PATIENCE" says_since "$1"; }
counted() { # COUNTER: the coordinator's
    status_lines | head -n 1 | sed "s/.*\"$1\": \([0-9]*\).*/\1/"
}
answers() { submit "${images[@]}" | cmp - "$scratch/expected"; }
ends() { # STATUS TEXT COMMAND...: it ends by itself, so, and says so
    local want=$1 text=$2 got=0
    shift 2
    timeout --kill-after=5 20 "$STAGECOACH" "$@" >"$scratch/ends.out" 2>&1 || got=$?
    if [ "$got" != "$want" ] || ! grep -q -- "$text" "$scratch/ends.out"; then
        echo "status $got" && cat "$scratch/ends.out" && false
    fi
}
stage_ends() { # STATUS TEXT NAME OPTION...
    ends "$1" "$2" stage --name "$3" --threads 1 --cache "$scratch/cache" "${@:4}"
}

# ---- the first start, and joining ----

start_coordinator --secure --stages 2 --model "$scratch/model" --microbatch 4
address=$STAGECOACH_COORDINATOR
check 'the first start prints a token' wait_until "$PATIENCE" grep -q 'sc1_' "$scratch/coordinator.log"
token=$(grep -o 'sc1_[A-Za-z0-9_-]*' "$scratch/coordinator.log")
echo "$token" >"$scratch/token"
start_stage b1 --token "$token"
start_stage b2 --token-file "$scratch/token"
wait_serving 2 || give_up "two boards with tokens do not serve: $(status)"
ok 'boards join with a token'
check 'answers over CURVE are those of one process, bit for bit' answers
check 'a token is not left on the command line' not grep -q sc1_ "/proc/${stage_pid[b1]}/cmdline"
private() { [ "$(stat -c %a "$state") $(stat -c %a "$state/$1")" = '700 600' ]; }
check 'keys lie where only their user reads them' private coordinator.key
check 'so do those of boards' private stage-b1.key
check 'no secret is logged' not grep -qFe "$(sed -n 's/secret //p' "$state/coordinator.key")" "$scratch"/*.log

kill_now "${stage_pid[b1]}"
start_stage b1
check 'a board that joined once needs no token' wait_serving 2

"$STAGECOACH" stage --name b9 --token "$token" --coordinator tcp://127.0.0.1:9 --state "$scratch/b9" 2>"$scratch/b9.log" &
waiting=$!
check 'a board waits for a coordinator that is not there' wait_until "$PATIENCE" log_says b9 'Trying again'
check 'its token is not left on the command line meanwhile' not grep -q sc1_ "/proc/$waiting/cmdline"
kill_now $waiting

cut_off() { # the coordinator did its part of a join, and the board never heard of it
    local once
    once=$(keys token)
    start_stage b4 --token "$once" --state "$scratch/b4"
    is_logged b4 'welcome by' || return 1
    kill_now "${stage_pid[b4]}"
    rm "$scratch/b4/coordinators" "$scratch/b4.log"
    mv "$scratch/b4/stage-b4.key" "$scratch/b4/next-stage-b4.key"
    start_stage b4 --token "$once" --state "$scratch/b4"
    is_logged b4 'welcome by'
}
check 'a join that was cut off is taken up again with the same token' cut_off
kill_now "${stage_pid[b4]}"
keys revoke b4 2>/dev/null

# ---- who is turned away ----

before=$(counted handshake)
mark
check 'a token that is used up' stage_ends 1 'does not take this token' b3 --token "$token"
check 'is counted' [ "$(counted handshake)" -gt "$before" ]
check 'is logged with its address' is_logged_since 'turned away 127.0.0.1.*is not admitted'
last=${token: -1}
check 'a typing error is told as one' stage_ends 2 'typing error' b3 --token "${token%?}$([ "$last" = A ] && echo B || echo A)"
check 'a token of another kind' ends 2 'token is for a stage' status --token "$(keys token)"
revoked=$(keys token)
keys revoke "$(keys list --json | sed -n 's/.*"token": "\([^"]*\)".*/\1/p' | tail -n 1)" 2>/dev/null
check 'a token that was revoked' stage_ends 1 'does not take this token' b3 --token "$revoked"

keys token --state "$scratch/other" >"$scratch/foreign" 2>"$scratch/told"
check 'a token for a coordinator that never ran says so' grep -q "no coordinator has run with --state $scratch/other yet" "$scratch/told"
keys token --state "$scratch/other" --uses 3 --role client >/dev/null 2>"$scratch/told"
check 'each time' grep -q "no coordinator has run with --state $scratch/other yet" "$scratch/told"
keys token >/dev/null 2>"$scratch/told.here"
check 'but not where one runs' not grep -q 'no coordinator' "$scratch/told.here"
check 'a token says what it is good for' grep -q '^lets in 3 clients until 2' "$scratch/told"
cp "$scratch/other/coordinator.key" "$state/stage-stranger.key"
check 'an unknown key' stage_ends 1 "does not admit this board's key" stranger
foreign() { # waits for a coordinator that has that key
    timeout --preserve-status 8 "$STAGECOACH" stage --name b3 --token-file "$scratch/foreign" 2>"$scratch/foreign.log"
    log_says coordinator 'looks for a server with another key'
}
check 'a token of another coordinator' foreign

cp "$state/client.key" "$state/stage-thief.key"
before=$(counted denied)
check 'a stolen client key used as a stage' stage_ends 1 "a client's key cannot act as a stage" thief
check 'that is counted' [ "$(counted denied)" -gt "$before" ]
check 'and logged with its address' is_logged coordinator 'denied 127.0.0.1:.*client.*local'
cp "$state/stage-b1.key" "$state/stage-b9.key"
sleep 1.1 # one line a second
check 'the key of one board under the name of another' stage_ends 1 'admitted as b1, and says it is b9' b9

elsewhere() { HOME=$scratch/elsewhere "$@"; }
check 'a client without a key' elsewhere ends 1 'demands keys' status
check 'a client with a token' elsewhere ends 0 serving status --json --token "$(keys token --role client --until 1h)"
check 'a client that joined once' elsewhere answers
name=$(keys list --json | sed -n 's/.*"role": "client", "name": "\([^"]*\)", "state": "admitted".*/\1/p' | grep -v '^local$')
elsewhere "$STAGECOACH" status --json --watch >"$scratch/watch" 2>&1 &
watch=$!
wait_until "$PATIENCE" test -s "$scratch/watch" || give_up 'status --watch says nothing'
check 'a client is revoked that never said hello' keys revoke "$name"
put_out() {
    wait_ended $watch
    [ $? = 1 ] && grep -q 'does not admit this key' "$scratch/watch"
}
check 'it is out with its next word' put_out
check 'beyond loopback a client without keys does not begin to talk' ends 2 'give --insecure' status --state "$scratch/none" --coordinator tcp://192.0.2.1:7600
check 'nor does a board' ends 2 'give --insecure' stage --state "$scratch/none" --coordinator tcp://192.0.2.1:7600
check 'nor does a board on this machine where keys are demanded' ends 1 'demands keys.*--token' stage --name b3 --state "$scratch/none" --threads 1
check "a stage's token is no client's" ends 2 'this token is for a client' stage --name b3 --token "$(keys token --role client)"

# How they are counted and logged: test_strangers.sh.
[ ! -x "$HELPER" ] || check 'garbage at the control port' timeout "$PATIENCE" "$HELPER" raw "$address"
[ ! -x "$HELPER" ] || check 'garbage at the port of results' timeout "$PATIENCE" "$HELPER" raw "$(coordinator_value data_endpoint)"
[ ! -x "$HELPER" ] || check 'garbage at the port of a board' timeout "$PATIENCE" "$HELPER" raw "$(board_value b1 endpoint)"
check 'the fleet is unharmed' answers

# ---- who is admitted, and says what is not its to say ----

stages() { status_lines | sed -n 's/^{"name": "\(b[0-9]\)".*"state": "serving", "first": \([0-9]*\).*/\2 \1/p' | sort -n | cut -d ' ' -f 2; }
insider() { "$(dirname "$HELPER")/insider" "$state" "$@"; } # WHO SERVER ENDPOINT
finds() { # WANT WHO SERVER ENDPOINT
    local got
    got=$(insider "${@:2}") || return 1
    [ "$got" = "$1" ] || { echo "got '$got', want '$1'" && false; }
}

# ---- revoking under load ----

start_stage b3 --token "$(keys token)"
check 'a spare board joins' is_logged b3 'welcome by'
mapfile -t stage < <(stages)
[ ${#stage[@]} = 2 ] || give_up "not two stages: ${stage[*]}"
last_port=$(board_value "${stage[1]}" endpoint)
if [ -x "$HELPER" ]; then
    check 'the stage before may speak to the next' finds in "stage-${stage[0]}" "stage-${stage[1]}" "$last_port"
    check 'a spare board may not' finds out stage-b3 "stage-${stage[1]}" "$last_port"
    check 'nor may a client' finds out client "stage-${stage[1]}" "$last_port"
    check 'nor a client at the port of results' finds out client coordinator "$(coordinator_value data_endpoint)"
fi
total=$((1500 * ${#images[@]}))
"$STAGECOACH" submit --json --logits --repeat 1500 "${images[@]}" >"$scratch/stream" 2>"$scratch/submit.log" &
client=$!
wait_until "$PATIENCE" test -s "$scratch/stream" || give_up 'nothing is answered'
if [ -x "$HELPER" ]; then # it is connected before it is revoked, and speaks afterwards
    "$(dirname "$HELPER")/insider" "$state" "stage-${stage[0]}" "stage-${stage[1]}" "$last_port" "$scratch/speak" >"$scratch/held" &
    holder=$!
fi
unit=$(keys token --uses 5) # as it stays in a unit file
sleep 1.1                 # a second's resolution: it is older than the revocation
begun=$(milliseconds)
check 'a board is revoked, and what is open is told' grep -q 'revoked b1: 1 key.*open still' <(keys revoke b1 2>&1 | paste -sd ' ')
out() { [ "$(board_value b1 state)" != serving ] && [ "$(board_value b1 state)" != ready ]; }
check 'it is out at once' wait_until 2 out
echo "# out after $(($(milliseconds) - begun)) ms"
revoked_ends() { wait_ended "${stage_pid[b1]}"; [ $? = 1 ] && log_says b1 "does not admit this board's key"; }
check 'it ends and says why' revoked_ends
check 'the fleet goes on with another' wait_serving 2
every_line_is_right() {
    wait_ended "$client" || return 1
    awk 'NR == FNR { want[count++] = $0; next } $0 == want[(FNR - 1) % count] { good++ } END { print good + 0 }' \
        "$scratch/expected" "$scratch/stream" | grep -qx "$total" || { grep -m 3 error "$scratch/stream" && false; }
}
check 'no answer is lost and none is wrong' every_line_is_right
check 'it stays out' stage_ends 1 "does not admit this board's key" b1
check 'also with a token that is older' stage_ends 1 'b1 was revoked after this token was made' b1 --token "$unit"
check 'which leaves its keys as they were' not test -e "$state/next-stage-b1.key"
forgotten() { finds out stage-b1 "stage-$1" "$2"; }
if [ -x "$HELPER" ]; then
    check 'its key opens no port of the others' wait_until "$PATIENCE" forgotten "${stage[1]}" "$last_port"
    touch "$scratch/speak"
    hung_up_on() {
        wait_ended "$holder" || return 1
        grep -qx 'in, and hung up on' "$scratch/held" || { cat "$scratch/held" && false; }
    }
    check 'and what was open is ended with the next word' hung_up_on
fi
check 'the list tells' grep -q '"name": "b1", "state": "revoked"' <(keys list --json)
check 'keys of no coordinator are not an empty list' ends 1 'no coordinator with keys has run' keys list --state "$scratch/never"
check 'revoking what is not there' ends 2 'no admitted key' keys revoke b77
start_stage b1 --token "$(keys token)"
check 'with a new token it gets a new key' is_logged b1 'admitted by the coordinator'

# A flood of connections may leave no descriptor to read the list with; what was revoked then is out when there is one.
if command -v prlimit >/dev/null; then
    is_in() { grep -q '"name": "b1", "state": "admitted"' <(keys list --json); }
    wait_until "$PATIENCE" is_in || give_up 'b1 does not join'
    before=$(prlimit --pid "$coordinator" --nofile --output SOFT --noheadings | tr -d ' ')
    prlimit --pid "$coordinator" --nofile=16: # all it has are open, and no fewer than it waits for
    check 'a board is revoked while the coordinator can open no file' keys revoke b1
    check 'which it says' is_logged coordinator 'kept as it was: .*Too many open files'
    prlimit --pid "$coordinator" --nofile="$before:"
    check 'the board is out when it can' revoked_ends
    start_stage b1 --token "$(keys token)"
fi

# ---- starting again, surveys, and no keys ----

kill -TERM "$coordinator"
wait_ended "$coordinator" || true
LISTEN=$address start_coordinator --secure --stages 3 --policy optimal --model "$scratch/model" --microbatch 4
any_serves() { [ "$(coordinator_value state)" = serving ]; }
check 'after a restart all come back without tokens, and are measured' wait_until "$PATIENCE" any_serves
check 'links between them, too' is_logged coordinator 'links: '
check 'no second token is printed' not grep -q sc1_ "$scratch/coordinator.log"
check 'but how one is made' is_logged coordinator "keys token --state .* makes a token"
check 'answers as before' answers
echo 'damaged' >>"$state/admitted"
touch "$state/admitted"
check 'a damaged list is told' is_logged coordinator 'list of admitted keys is kept as it was'
check 'and the old one stays in force' answers
stop_fleet

check 'beyond loopback there must be keys' ends 2 'there must be keys' coordinator --model "$scratch/model" --listen tcp://0.0.0.0:0 --state none
LISTEN=tcp://0.0.0.0:0 start_coordinator --state "$scratch/beyond" --model "$scratch/model"
check 'beyond loopback there are, without asking' wait_until "$PATIENCE" grep -q 'sc1_' "$scratch/coordinator.log"
check 'where boards are not counted, the first token lets in many' grep -q 'lets in 64 boards within an hour' "$scratch/coordinator.log"
many=$(grep -o 'sc1_[A-Za-z0-9_-]*' "$scratch/coordinator.log")
start_stage m1 --state "$scratch/beyond-m1" --token "$many" --coordinator "tcp://127.0.0.1:${STAGECOACH_COORDINATOR##*:}"
start_stage m2 --state "$scratch/beyond-m2" --token "$many" --coordinator "tcp://127.0.0.1:${STAGECOACH_COORDINATOR##*:}"
lets_in() { grep -q "\"name\": \"$1\", \"state\": \"admitted\"" <("$STAGECOACH" keys list --json --state "$scratch/beyond"); }
check 'one' wait_until "$PATIENCE" lets_in m1
check 'and another' wait_until "$PATIENCE" lets_in m2
stop_fleet
LISTEN=tcp://0.0.0.0:0 start_coordinator --insecure --state none --model "$scratch/model"
check '--insecure warns' grep -q 'warn .*--insecure' "$scratch/coordinator.log"
stop_fleet
# A board whose token is in its unit file meets a coordinator without keys at that address, or one that pretends to be without.
keeps_its_key() {
    local before
    before=$(cat "$state/stage-b2.key")
    LISTEN=$address start_coordinator --insecure --state none --model "$scratch/model"
    stage_ends 1 'demands\|does not' b2 --token "$unit"
    local result=$?
    stop_fleet
    [ "$before" = "$(cat "$state/stage-b2.key")" ] && [ $result = 0 ]
}
check 'a board keeps its key until it has another that is good' keeps_its_key
chmod 777 "$state"
check 'nor one where others can put theirs' ends 2 'others may write there' coordinator --secure --model "$scratch/model" --listen tcp://127.0.0.1:0
chmod 700 "$state"
chmod 644 "$state/coordinator.key"
check 'a key that others can read is not used' ends 2 'others may read' coordinator --secure --model "$scratch/model" --listen tcp://127.0.0.1:0

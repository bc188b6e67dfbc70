# shellcheck shell=bash disable=SC2034  # what is unused here is used by the tests
# What the end-to-end tests share: daemons of one's own on ports that the system chooses, waiting with a limit, and results
# as scripts/run_tests counts them. To be sourced from the root of the tree; $STAGECOACH is the binary under test.
#
# Everything a test writes lies in $scratch, which goes away when the test ends; every process that was started ends with it.
set -u
STAGECOACH=${STAGECOACH:-build/stagecoach}
HELPER=$(dirname "$STAGECOACH")/test/e2e/hostile
PATIENCE=${E2E_PATIENCE:-60} # seconds that anything may take before it counts as hanging
unset XDG_CACHE_HOME
scratch=$(mktemp -d "${TMPDIR:-/tmp}/stagecoach-e2e.XXXXXX")
export HOME=$scratch/home
export OPENBLAS_NUM_THREADS=1
coordinator=''
declare -A stage_pid=()
failures=0

# ---- the end ----

end_processes() {
    local pids
    pids=$(jobs -p)
    # shellcheck disable=SC2086  # a list of numbers
    [ -z "$pids" ] || kill -KILL $pids
    wait
} 2>/dev/null
clean_up() {
    local status=$?
    end_processes
    rm -rf "$scratch"
    [ "$status" != 0 ] || [ "$failures" = 0 ] || status=1
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# ---- results ----

ok() { echo "ok $1"; }
not_ok() { # NAME WHY...
    local name=$1 log
    shift
    failures=$((failures + 1))
    printf 'not ok %s: %s\n' "$name" "$*"
    for log in "$scratch"/*.log; do # later failures follow from the first ones
        [ $failures -gt 2 ] || [ ! -s "$log" ] || tail -n 8 "$log" | sed "s|^|    ${log##*/}: |"
    done
}
check() { # NAME COMMAND...: passes when the command does; its output is shown when it does not
    local name=$1
    shift
    if "$@" >"$scratch/check.out" 2>&1; then
        ok "$name"
    else
        not_ok "$name" "'$*' is not so: $(head -c 2000 "$scratch/check.out")"
    fi
}
give_up() { # WHY: nothing that follows makes sense
    not_ok "$(basename "$0" .sh)" "$*"
    exit 1
}
not() { ! "$@"; }

# ---- waiting ----

wait_until() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}
ended() { ! kill -0 "$1" 2>/dev/null; }
alive() { kill -0 "$1" 2>/dev/null; }
wait_ended() { # PID: its exit status, 124 if it does not end in time
    wait_until "$PATIENCE" ended "$1" || return 124
    wait "$1" 2>/dev/null
}
kill_now() { # PID...
    kill -KILL "$@"
    wait "$@"
} 2>/dev/null
milliseconds() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# ---- daemons ----

run() { timeout --kill-after=5 "$PATIENCE" "$STAGECOACH" "$@"; }
submit() { run submit --quiet --json --logits "$@"; }

# At $STAGECOACH_COORDINATOR from then on. With the policy that uses every board, and measures nothing, unless told otherwise.
start_coordinator() { # OPTION...
    rm -f "$scratch/endpoint"
    "$STAGECOACH" coordinator --policy even --listen "${LISTEN:-tcp://127.0.0.1:0}" --endpoint-file "$scratch/endpoint" "$@" \
        2>"$scratch/coordinator.log" &
    coordinator=$!
    wait_until "$PATIENCE" test -s "$scratch/endpoint" || give_up "the coordinator does not start"
    STAGECOACH_COORDINATOR=$(cat "$scratch/endpoint")
    export STAGECOACH_COORDINATOR
}
start_stage() { # NAME OPTION...
    local name=$1
    shift
    "$STAGECOACH" stage --name "$name" --threads 1 --cache "$scratch/cache-$name" "$@" 2>>"$scratch/$name.log" &
    stage_pid[$name]=$!
}
start_stages() { # COUNT OPTION...: b1, b2, ...
    local count=$1 number
    shift
    for number in $(seq "$count"); do
        start_stage "b$number" "$@"
    done
}
start_fleet() { # STAGES OPTION...: coordinator and stages, serving
    local stages=$1
    shift
    start_coordinator --stages "$stages" "$@"
    start_stages "$stages"
    wait_serving "$stages" || give_up "a fleet of $stages does not serve: $(status)"
}
stop_fleet() {
    end_processes
    stage_pid=()
    rm -f "$scratch"/*.log
}

# ---- what status says ----

status() { timeout 10 "$STAGECOACH" status --json 2>/dev/null; }
# One line for the coordinator, one for each board, then one of events.
status_lines() { status | sed 's/{"name": /\n&/g; s/, "events": /\n&/'; }
value() { sed -n "s/.*\"$1\": \(\"\([^\"]*\)\"\|\([0-9.]*\)\).*/\2\3/p"; }
coordinator_value() { status_lines | head -n 1 | value "$1"; }
board_value() { status_lines | grep "^{\"name\": \"$1\"" | value "$2"; } # BOARD KEY
serving() { # [STAGES]
    local lines
    lines=$(status_lines)
    [ "$(head -n 1 <<<"$lines" | value state)" = serving ] &&
        [ "$(grep -c '"state": "serving"' <<<"$(tail -n +2 <<<"$lines")")" = "${1:-1}" ]
}
wait_serving() { wait_until "$PATIENCE" serving "$@"; } # [STAGES]

# ---- answers ----

# What one process says to these files, in $scratch/NAME.
classify() { # NAME MODEL FILE...
    local name=$1 model=$2
    shift 2
    run classify --model "$model" --threads 1 --json --logits "$@" >"$scratch/$name" 2>"$scratch/classify.log" ||
        [ $? = 1 ] || give_up "classify: $(cat "$scratch/classify.log")"
}
synth() { run synth "$1" --seed "${3:-1}" --out "$2" 2>/dev/null || give_up "no model $1"; } # ARCH DIRECTORY [SEED]

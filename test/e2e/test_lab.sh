#!/bin/bash
# The lab: fleet files are read strictly, limits hold, boards die and come back, and nothing of it stays whatever happened.
# What needs root, namespaces and control groups is skipped where they are not to be had.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh
# shellcheck source=test/e2e/lab.sh
. test/e2e/lab.sh

# ---- fleet files; no root ----

read_fleet() { awk -v file=fleet.yaml -f scripts/lab.d/fleet.awk "$@" 2>&1; }
refuses() { # EXPECTED TEXT
    local said
    said=$(printf '%b' "$2" | read_fleet -) && return 1
    [[ $said = "$1"* ]] || { echo "said '$said', want '$1...'" && return 1; }
}
all_refused() {
    local sixteen='  - name: a\n    cpu: 1%\n    count: 16\n\n'
    refuses 'fleet.yaml:3: cpu: got' 'boards:\n  - name: a\n    cpu: 10\n' &&
        refuses 'fleet.yaml:4: network: got' 'boards:\n  - name: a\n    cpu: 1%\n    network: 30Mbit\n' &&
        refuses "fleet.yaml:3: 'speed' is not known" 'boards:\n  - name: a\n    speed: 10%\n' &&
        refuses "fleet.yaml:4: 'cpu' stands here twice" 'boards:\n  - name: a\n    cpu: 1%\n    cpu: 1%\n' &&
        refuses "fleet.yaml:4: two boards are called 'a'" 'boards:\n  - name: a\n    cpu: 1%\n  - name: a\n    cpu: 1%\n' &&
        refuses 'fleet.yaml:2: a board cannot be called' 'boards:\n  - name: switch\n' &&
        refuses 'fleet.yaml:2: board a has no cpu' 'boards:\n  - name: a\n' &&
        refuses 'fleet.yaml:6: more than 16' "boards:\\n$sixteen  - name: b\\n    cpu: 1%\\n" && refuses 'fleet.yaml:2: want ' 'boards:\n  - {}\n' &&
        refuses "fleet.yaml:4: network: got '0Mbit/s', want more than nothing" 'boards:\n  - name: a\n    cpu: 1%\n    network: 0Mbit/s\n' &&
        refuses 'fleet.yaml:2: a tab' 'boards:\n\t- name: a\n' &&
        refuses "fleet.yaml:1: want 'coordinator:'" 'count: 3\n' && refuses 'fleet.yaml' ''
}
check 'what is wrong in a fleet file is told with its line' all_refused

all_shipped() {
    local file count
    for file in configs/lab/*.yaml; do
        count=$(read_fleet "$file" | wc -l)
        [ "$count" = 17 ] || [ "$count" = 5 ] || { echo "$file: $count hosts" && return 1; }
    done
}
check 'the shipped fleets are read' all_shipped
check 'memory and network can be scaled' test "$(printf 'boards:\n  - name: a\n    cpu: 1%%\n    memory: 300B\n    reserve: 100B\n' |
    read_fleet -v memory=50% -v network=8Mbit/s - | tail -n 1 | cut -f 4-6)" = "$(printf '200\t100\t8000000')"

bad_option() { ! read_fleet -v "$1" configs/lab/4-equal.yaml >"$scratch/said" && grep -q "^--${1%%=*}: of every board: got '${1#*=}" "$scratch/said"; }
check 'a share of memory that is none is not blamed on the file' bad_option memory=half
check 'nor is a rate' bad_option network=30Mbit

# ---- words; no root ----

no_program() { STAGECOACH=$scratch/nowhere/stagecoach scripts/lab "$@" >"$scratch/said" 2>&1; }
says() { # TEXT WORD...: without a program
    local text=$1
    shift
    ! no_program "$@" && grep -qF -- "$text" "$scratch/said"
}
check 'the lab explains itself before anything is built' says 'scripts/lab up' --help
check 'down takes no words' says 'scripts/lab up' down --help
one_line() { says "$@" && [ "$(wc -l <"$scratch/said")" = 1 ]; }
check 'an option without its value is told in a line' one_line '--memory has no value' up configs/lab/4-equal.yaml --memory
check 'so are two fleets' one_line 'want one fleet' up configs/lab/4-equal.yaml configs/lab/16-equal.yaml
check 'so is a value that is none' one_line "--memory: of every board: got 'half', want" up --memory half configs/lab/4-equal.yaml
check 'what has to be built is told' says 'no such program; build it' tour
value() { # KEY JSON
    (
        # shellcheck source=scripts/lab.d/measure.sh
        home=. && . scripts/lab.d/measure.sh
        json_value "$1" <<<"$2"
    )
}
check 'a value is the first of its key' test "$(value epoch '{"epoch": 2, "events": [{"epoch": 1}]}')" = 2
check 'a text is whole' test "$(value reason '{"reason": "slow; 3 of 4, \"b\"", "n": 1}')" = 'slow; 3 of 4, \"b\"'

# ---- processes are known by more than their number; no root ----

noted() { # BIRTH: what is found of a process that was noted as born then; nothing for its own
    (
        # shellcheck source=scripts/lab.d/state.sh
        . scripts/lab.d/state.sh
        cp "$(command -v sleep)" "$scratch/x) R 1 1" # its name in /proc/PID/stat looks like the fields behind it
        "$scratch/x) R 1 1" 100 &
        process_note $! "$scratch/noted"
        [ -z "$1" ] || echo "$! $1" >"$scratch/noted"
        found=$(process_of "$scratch/noted")
        kill -KILL $!
        wait $! 2>/dev/null
        [ "$found" = $! ] && ! process_of "$scratch/noted"
    )
}
check 'a process that was noted is found until it ends' noted ''
check 'another with its number is not taken for it' not noted 1
check 'nor is one whose birth is not known' not noted ' '

# ---- what is written for control groups of either version, into folders that stand for them; no root ----

written() { # VERSION FILE...: what the limits of a board of 10 %, 1000 bytes and 500 bytes/s write there
    local version=$1
    shift
    (
        # shellcheck source=scripts/lab.d/cgroups.sh
        . scripts/lab.d/cgroups.sh
        for controller in cpu memory blkio; do
            cgroup_root[$controller]=$scratch/v$version cgroup_version[$controller]=$version
        done
        mkdir -p "$scratch/v$version/$LAB_GROUP/a"
        limit_cpu a 10 && limit_memory a 1000 && limit_storage a 500 8:0 && cd "$scratch/v$version/$LAB_GROUP/a" && head -qn 1 "$@" | paste -sd ' '
        limit_cpu a 2.5 && limit_memory a -1 && head -qn 1 "$@" | paste -sd ' ' && limit_cpu a 0 && head -qn 1 "$@" | paste -sd ' '
    )
}
check 'limits of control groups of version 2' test "$(written 2 cpu.max memory.max io.max)" = \
    "$(printf '%s\n' '2000 20000 1000 8:0 rbps=500' '1000 40000 max 8:0 rbps=500' 'max 100000 max 8:0 rbps=500')"
check 'limits of control groups of version 1' test "$(written 1 cpu.cfs_quota_us cpu.cfs_period_us memory.limit_in_bytes \
    blkio.throttle.read_bps_device)" = "$(printf '%s\n' '2000 20000 1000 8:0 500' '1000 40000 -1 8:0 500' '-1 100000 -1 8:0 500')"

# ---- the rest needs a machine that can ----

claim_lab

cat >"$fleet" <<'END'
boards:
  - name: board          # three that run daemons
    count: 3
    cpu: 20%
    memory: 2GiB
    network: 40Mbit/s
  - name: small
    cpu: 10%
    memory: 32MiB
    storage: 10MB/s
END

# Namespaces, control groups, folders and processes of a lab.
traces() {
    ip netns list | grep stagecoach-lab
    find /sys/fs/cgroup -maxdepth 3 -name 'stagecoach-lab*'
    ls -d /run/stagecoach-lab "$scratch"/stagecoach-lab.* 2>/dev/null
}
nothing_left() { [ -z "$(traces)" ] || { traces && return 1; }; }

if ! said=$(lab up "$fleet"); then # a disk of its own is not everywhere
    echo "skip the rate of storage: $(tail -n 1 <<<"$said")"
    sed -i /storage:/d "$fleet"
    lab up "$fleet" >/dev/null || give_up "no lab: $said"
fi
ok 'a fleet is made'
second_refused() { ! lab up "$fleet" >"$scratch/said" && grep -q 'a lab is up.*scripts/lab down' "$scratch/said"; }
check 'a second lab is refused' second_refused

cpu_used() { lab status | awk -v host="$1" '$1 == host { for (i = 2; i < NF; i++) if ($(i + 1) == "s" && $i ~ /\./) print $i }'; } # HOST
quota_holds() { # 10 % for 3 s
    local used
    lab exec small timeout 3 bash -c 'while :; do :; done'
    used=$(cpu_used small)
    awk -v used="$used" 'BEGIN { exit !(used > 0.1 && used < 0.42) }' || { echo "used $used s" && return 1; }
}
check 'a board gets its share of a processor, no more' quota_holds
cubic() { lab exec small ip route show | grep -q 'congctl cubic'; }
! grep -qw cubic /proc/sys/net/ipv4/tcp_available_congestion_control ||
    check 'boards have the congestion control of boards' cubic
too_much_memory() { ! lab exec small bash -o pipefail -c 'head -c 100000000 /dev/zero | tail >/dev/null'; }
check 'a board gets its memory, no more' too_much_memory
storage_holds() { # 8 MB
    local start
    dd if=/dev/urandom of="$scratch/file" bs=1M count=8 conv=fsync status=none
    dd if="$scratch/file" iflag=nocache count=0 status=none
    start=$EPOCHREALTIME
    lab exec small cat "$scratch/file" >/dev/null
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a " s"; exit !(b - a > 0.6) }'
}
! grep -q storage: "$fleet" || check 'a board reads its disk at its rate' storage_holds

synth vit-nano "$scratch/model"
images=(test/data/images/{rgb.jpg,grey_16.png,cmyk.jpg})
classify expected "$scratch/model" "${images[@]}"
same_answers() { lab submit --quiet --json --logits "${images[@]}" >"$scratch/answers"; cmp "$scratch/answers" "$scratch/expected"; }
said_by_lab() { lab exec coordinator "$(realpath "$STAGECOACH")" status --insecure --json; }
lab_serving() { [ "$(said_by_lab | grep -o '"state": "serving"' | wc -l)" = 4 ]; }
epoch() { said_by_lab | sed 's/.*"epoch": \([0-9]*\).*/\1/'; }
comes_back() { # EPOCH_BEFORE
    lab_serving && [ "$(epoch)" -gt "$1" ]
}

twice() { ! lab run --boards board-1,board-1 --model "$scratch/model" >"$scratch/said" && grep -q "stands there twice" "$scratch/said"; }
check 'no board runs two stages' twice
check 'daemons run on the boards' lab run --boards board-3,board-1,board-2 --policy even --model "$scratch/model" --microbatch 2
check 'boards serve in the order that was asked for' grep -q 'board-3.*board-1.*board-2' <(said_by_lab)
check 'logits are those of one process' same_answers
dies_and_returns() {
    local before
    before=$(epoch)
    lab kill board-1 && wait_until "$PATIENCE" not lab_serving && lab start board-1 && wait_until "$PATIENCE" comes_back "$before" && same_answers
}
check 'a board that is killed comes back when it is started' dies_and_returns
cut_and_healed() {
    local before
    before=$(epoch)
    lab cut board-2 && wait_until "$PATIENCE" not lab_serving && lab status | grep -q '^board-2 .* cut ' &&
        lab heal board-2 && wait_until "$PATIENCE" comes_back "$before" && same_answers
}
check 'a board whose cable is pulled is lost, and back when it is plugged' cut_and_healed
check 'daemons end, the boards stay' eval 'lab stop && lab exec board-1 true'
synth vit-tiny "$scratch/tiny" # 22.9 MB, which take 4.6 s at 40 Mbit/s
network_holds() {
    local start=$EPOCHREALTIME
    lab run --model "$scratch/tiny" --boards board-1 &&
        awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a " s"; exit !(b - a > 4.2 && b - a < 40) }'
}
check 'weights come at the rate of the link' network_holds
profile_here() { "$@" "$(realpath "$STAGECOACH")" profile --model "$scratch/tiny" --microbatch 1 --threads 1 --budget 4 --json; }
profile_sum() { sed 's/.*"unit_s": \[\([^]]*\).*/\1/; s/, /\n/g' "$1" | awk '{ sum += $1 } END { print sum }'; } # FILE
profile_by_share() { # a fifth of a processor takes five times as long for a unit, and what it receives keeps it from computing
    profile_here env >"$scratch/whole.json" && profile_here scripts/lab exec board-3 >"$scratch/fifth.json" &&
        awk -v whole="$(profile_sum "$scratch/whole.json")" -v fifth="$(profile_sum "$scratch/fifth.json")" \
            'BEGIN { print "ratio " fifth / whole; exit !(fifth > 3.3 * whole && fifth < 8 * whole) }' &&
        grep -q '"handling_bytes_per_second": [1-9]' "$scratch/fifth.json"
}
check 'a board is profiled at its share of a processor' eval 'profile_by_share || profile_by_share' # others may disturb the whole one
failing() { # its limits are those of the table, not those while it began
    lab stop && ! lab run --quick --model "$scratch/tiny" --no-such-option >"$scratch/said" && quota_of board-1
}
quota_of() { # HOST: 20 %
    [ "$(paste -sd ' ' <(find /sys/fs/cgroup -path "*/stagecoach-lab/$1/cpu.cfs_quota_us" -exec cat {} +))" = 4000 ] ||
        [ "$(find /sys/fs/cgroup -path "*/stagecoach-lab/$1/cpu.max" -exec cat {} +)" = '4000 20000' ]
}
check 'limits are set again when that fails' failing
quickly() { lab stop && lab run --model "$scratch/tiny" --boards board-2,board-1 --quick --cold && lab status | grep -q '40 Mbit/s'; }
check 'or quickly, with the limits set afterwards' quickly

# A board on the coordinator's own machine, which joins by 127.0.0.1, behind one elsewhere: that must reach it.
program=$(realpath "$STAGECOACH")
at_coordinator() { scripts/lab exec coordinator timeout "$PATIENCE" "$program" "$1" --coordinator tcp://127.0.0.1:7700 --state "$scratch/keys" "${@:2}"; }
here_and_there() { # POLICY LISTEN...: the one here is given that
    local token policy=$1
    shift
    rm -rf "$scratch/keys" "$scratch/coordinator.log"
    scripts/lab exec coordinator "$program" coordinator --listen tcp://0.0.0.0:7700 --stages 2 --policy "$policy" --model "$scratch/model" \
        --microbatch 2 --state "$scratch/keys" 2>"$scratch/coordinator.log" &
    at_both=($!)
    wait_until "$PATIENCE" grep -q sc1_ "$scratch/coordinator.log" || return 1
    token=$(grep -o 'sc1_[A-Za-z0-9_-]*' "$scratch/coordinator.log")
    scripts/lab exec board-1 "$program" stage --name a-there --threads 1 --cache "$scratch/cache-a" --state "$scratch/state-a" \
        --coordinator tcp://10.0.0.1:7700 --token "$token" 2>"$scratch/a-there.log" &
    at_both+=($!)
    scripts/lab exec coordinator "$program" stage --name b-here --threads 1 --cache "$scratch/cache-b" --state "$scratch/state-b" \
        --coordinator tcp://127.0.0.1:7700 --token "$token" "$@" 2>"$scratch/b-here.log" &
    at_both+=($!)
    at_coordinator submit --quiet --json --logits "${images[@]}" >"$scratch/answers"
    cmp "$scratch/answers" "$scratch/expected"
}
lab stop
check "boards elsewhere reach one that joined on the coordinator's machine by 127.0.0.1" here_and_there even
kill_now "${at_both[@]}"
check 'where they cannot, the rest serves' here_and_there optimal --listen tcp://127.0.0.1:0
unlinked() { at_coordinator status | grep -q 'spare .*no link with '; }
check 'and status says why a board is a spare' wait_until "$PATIENCE" unlinked
kill_now "${at_both[@]}"
check 'a lab in use goes down' lab down
check 'nothing is left of it' nothing_left

# ---- broken labs ----

half_made() { # SECONDS: `up` is killed after so long
    local maker
    setsid scripts/lab up "$fleet" >/dev/null 2>&1 &
    maker=$!
    sleep "$1"
    kill_now "$maker"
    ! lab up "$fleet" >"$scratch/said" || [ ! -e /run/stagecoach-lab/maker ] || return 0 # it was not even begun
    grep -q 'scripts/lab down' "$scratch/said" && lab down && nothing_left
}
for pause in 0.05 0.15 0.25; do
    check "an 'up' killed after $pause s is detected and cleaned" eval "half_made $pause; lab down; nothing_left"
done
left_without_state() {
    lab up "$fleet" && rm -r /run/stagecoach-lab "$scratch"/stagecoach-lab.* &&
        ! lab up "$fleet" >"$scratch/said" && grep -q 'parts of a lab were left' "$scratch/said" && lab down && nothing_left
}
check 'a lab that lost its state is detected and cleaned' left_without_state
two_at_once() {
    local pids=() pid won=0
    for _ in 1 2; do
        scripts/lab up "$fleet" >/dev/null 2>&1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do ! wait "$pid" || won=$((won + 1)); done
    [ $won = 1 ] && lab exec small true && lab down && nothing_left
}
check 'of two at once one wins' two_at_once
check 'down does no harm when there is nothing' eval 'lab down && nothing_left'

# shellcheck shell=bash disable=SC2034,SC2154  # $binary, $folder and $weights are shared with the script and its other parts
# What the lab knows of itself, in $LAB_STATE: the folder's mkdir is what lets one `up` win, `maker` is the process that makes
# the lab, `up` is written when it stands, `hosts` is the table of fleet.awk, `folder` says where logs and weights are, `period` is
# LAB_PERIOD_US. And the end of it all: taking down looks at what is there (namespaces, control
# groups), not at what the state says; only the folder is found by it.

LAB_STATE=/run/stagecoach-lab
LAB_PROBE=stagecoach-probe-of-lab

# ---- processes, by number and time of birth: a number is given again, the pair is not ----

process_born() { # PID: in ticks since the machine started
    local stat
    stat=$(cat "/proc/$1/stat") || return 1
    # shellcheck disable=SC2086  # fields; the second, the name, may hold spaces and brackets
    set -- ${stat##*) }
    echo "${20}"
} 2>/dev/null
process_note() { echo "$1 $(process_born "$1")" >"$2"; } # PID FILE
process_of() {                                           # FILE: the process that was noted there, if it is still there
    local pid born
    read -r pid born <"$1" && [ -n "$born" ] && [ "$(process_born "$pid")" = "$born" ] && echo "$pid"
} 2>/dev/null

# ---- the table of hosts ----

hosts() { cut -f 1 "$LAB_STATE/hosts"; }
boards() { hosts | tail -n +2; }
host_value() { # HOST number|cpu|threads|memory|reserve|network|storage
    awk -F '\t' -v host="$1" -v want="$2" 'BEGIN { split("cpu threads memory reserve network storage", name, " ") }
        $1 == host { if (want == "number") print NR - 1; for (i in name) if (name[i] == want) print $(i + 1) }' "$LAB_STATE/hosts"
}
require_host() { hosts | grep -qxF -- "$1" || misuse "no host '$1'; there are: $(hosts | paste -sd ' ')"; }
require_board() { { [ "$1" != coordinator ] && require_host "$1"; } || misuse "that is no board"; }

# ---- can this machine do it? ----

describe_machine() {
    local controller
    for controller in cpu memory blkio; do
        printf '%s: cgroup v%s, ' "$controller" "${cgroup_version[$controller]-?}"
    done
    echo "network: namespaces and tbf"
}

network_objection() {
    local probe=$LAB_PROBE-$$ why=''
    command -v ip >/dev/null && command -v tc >/dev/null && command -v nsenter >/dev/null ||
        { echo "ip, tc or nsenter is missing: apt-get install iproute2 util-linux" && return; }
    ip netns add "$probe" 2>/dev/null || { echo "network namespaces cannot be made here" && return; }
    if ! ip -n "$probe" link add bridge type bridge 2>/dev/null; then
        why="no bridges in this kernel"
    elif ! ip -n "$probe" link add p0 type veth peer name eth0 2>/dev/null; then
        why="no veth in this kernel"
    elif ! tc -n "$probe" qdisc add dev p0 root tbf rate 10mbit burst 16kb latency 100ms 2>/dev/null; then
        why="no 'tc tbf' in this kernel; go without: --without network"
        [[ " $1 " != *' network '* ]] || why=''
    fi
    ip netns delete "$probe"
    echo -n "$why"
}

# Fails with the reason when the lab cannot be made as the table wants it.
check_machine() { # WITHOUT TABLE
    local controller name why without=" ${1//,/ } "
    [ "$(id -u)" = 0 ] || fail "needs root, for namespaces and control groups"
    for name in $without; do
        [[ " cpu memory network storage " = *" $name "* ]] || misuse "--without: no limit '$name'; want cpu, memory, network or storage"
    done
    why=$(network_objection "$without")
    [ -z "$why" ] || fail "$why"
    for controller in cpu memory blkio; do
        name=${controller/#blkio/storage}
        [[ $without != *" $name "* ]] || continue
        # storage, only if a board wants it
        [ $name != storage ] || cut -f 7 <<<"$2" | grep -q '[1-9]' || continue
        why=$(cgroup_objection $controller)
        [ -z "$why" ] || fail "no limits of $name: $why; or go without, and not be honest: --without $name"
    done
}

# ---- limits, as the table says ----

limited() { ! grep -qw "$1" "$LAB_STATE/without"; } # cpu|memory|network|storage

# Those that may be lifted for a while.
set_limits() { # HOST
    ! limited cpu || limit_cpu "$1" "$(host_value "$1" cpu)"
    ! limited network || limit_network "$1" "$(host_value "$1" number)" "$(host_value "$1" network)"
}
lift_limits() { # HOST
    ! limited cpu || limit_cpu "$1" 0
    ! limited network || limit_network "$1" "$(host_value "$1" number)" 0
}

limit_once() { # HOST
    local memory storage disk
    memory=$(host_value "$1" memory) storage=$(host_value "$1" storage)
    [ "$memory" = 0 ] || ! limited memory || limit_memory "$1" "$memory"
    if [ "$storage" != 0 ] && limited storage; then
        disk=$(disk_of "$weights") || fail "$weights is on no disk whose reads can be limited; set LAB_WEIGHTS, or go --without storage"
        limit_storage "$1" "$storage" "$disk"
    fi
}

# ---- one lab at a time ----

lab_is_up() { [ -e "$LAB_STATE/up" ]; }

# What of a lab is here, in words; nothing when there is none.
lab_traces() {
    local maker
    if lab_is_up; then
        echo "a lab is up ($(cat "$LAB_STATE/fleet" 2>/dev/null))"
    elif [ -e "$LAB_STATE" ]; then
        if maker=$(process_of "$LAB_STATE/maker"); then
            echo "a lab is being made by process $maker"
        else
            echo "a lab was left half made"
        fi
    elif [ -n "$(namespaces_left)$(cgroups_left)" ]; then
        echo "parts of a lab were left behind"
    fi
}

state_claim() {
    local traces
    traces=$(lab_traces)
    [ -z "$traces" ] || fail "$traces; remove it first: scripts/lab down"
    mkdir "$LAB_STATE" 2>/dev/null || fail "another lab is being made"
    process_note $$ "$LAB_STATE/maker"
}

state_fill() { # FLEET
    mkdir "$LAB_STATE/run"
    realpath "$1" >"$LAB_STATE/fleet"
    echo "$LAB_PERIOD_US" >"$LAB_STATE/period"
    mktemp -d "${TMPDIR:-/tmp}/stagecoach-lab.XXXXXX" >"$LAB_STATE/folder"
    mkdir -p "${LAB_WEIGHTS:-$(cat "$LAB_STATE/folder")/weights}"
    realpath "${LAB_WEIGHTS:-$(cat "$LAB_STATE/folder")/weights}" >"$LAB_STATE/weights"
}

state_open() {
    folder=$(cat "$LAB_STATE/folder")
    weights=$(cat "$LAB_STATE/weights")
    LAB_PERIOD_US=$(cat "$LAB_STATE/period")
}

require_lab() {
    local traces
    [ "$(id -u)" = 0 ] || fail "needs root, for namespaces and control groups"
    lab_is_up && return
    traces=$(lab_traces)
    fail "${traces:-no lab is up}; ${traces:+first: scripts/lab down, then: }scripts/lab up FLEET.yaml"
}

# ---- the end ----

remove_folder() {
    local known
    known=$(cat "$LAB_STATE/folder" 2>/dev/null || true)
    [[ $known != */stagecoach-lab.?????? ]] || rm -rf "$known"
}

take_down() {
    local status=0
    cgroups_remove || status=1
    network_remove || status=1
    cgroups_remove || status=1
    remove_folder
    rm -rf "$LAB_STATE"
    return $status
}

# Ends an `up` that is still at work, so that it makes nothing more.
end_maker() {
    local maker
    maker=$(process_of "$LAB_STATE/maker") || return 0
    lab_is_up || [ "$maker" = $$ ] || kill -KILL "$maker" 2>/dev/null || true
}

# What a `check` or an `up` leaves when it is killed while it looks at what this machine can do.
probes_remove() {
    local probe
    for probe in $(ip netns list 2>/dev/null | awk '{ print $1 }' | grep "^$LAB_PROBE-"); do
        ip netns delete "$probe" 2>/dev/null || rm -f "/run/netns/$probe"
    done
    [ -z "${cgroup_root[cpu]-}" ] || find "${cgroup_root[cpu]}" -maxdepth 1 -name "$LAB_PROBE-*" -exec rmdir {} + 2>/dev/null || true
}

command_down() {
    local space
    [ "$(id -u)" = 0 ] || fail "needs root"
    space=$(ip netns identify $$ 2>/dev/null || true)
    [[ $space != "$LAB_PREFIX"* ]] || fail "this shell is on ${space#"$LAB_PREFIX"}; leave it first"
    probes_remove
    [ -n "$(lab_traces)" ] || { echo "lab: nothing is up" && return; }
    end_maker
    take_down || fail "something could not be removed: $(namespaces_left) $(cgroups_left)"
    echo "lab: down"
}

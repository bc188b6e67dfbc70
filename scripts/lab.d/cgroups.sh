# shellcheck shell=bash
# Limits of the lab's hosts: processor quota, memory and storage reads, by control groups of version 1 or 2, whichever the
# controller is mounted as here (a machine may have both). Every host is a group LAB_GROUP/HOST in each hierarchy.
#
# A quota is given per period (LAB_PERIOD_US). The kernel's default of 100 ms makes a board of 10 % compute for 10 ms at full
# speed and stand still for 90; a short one is closer to a slow processor. It grants no quota below 1 ms, so small shares
# get longer periods. While something is measured, keep_awake sees to it that no processor sleeps.

LAB_GROUP=stagecoach-lab
LAB_AWAKE=$LAB_GROUP-awake
LAB_PERIOD_US=${LAB_PERIOD_US:-20000}
declare -A cgroup_root=() cgroup_version=()

# Finds where each controller is mounted. Names are those of version 1; "blkio" stands for version 2's "io".
cgroups_find() {
    local device folder type options _ controller
    while read -r device folder type options _; do
        case $type in
        cgroup)
            for controller in cpu cpuacct memory blkio; do
                [[ ,$options, != *,$controller,* ]] || { cgroup_root[$controller]=$folder && cgroup_version[$controller]=1; }
            done
            ;;
        cgroup2)
            for controller in cpu memory io; do
                grep -qsw "$controller" "$folder/cgroup.controllers" || continue
                cgroup_root[${controller/#io/blkio}]=$folder
                cgroup_version[${controller/#io/blkio}]=2
            done
            [ "${cgroup_version[cpu]-}" != 2 ] || { cgroup_root[cpuacct]=$folder && cgroup_version[cpuacct]=2; }
            ;;
        esac
    done </proc/mounts
}

cgroup_roots() { [ ${#cgroup_root[@]} = 0 ] || printf '%s\n' "${cgroup_root[@]}" | sort -u; }
cgroup_folder() { echo "${cgroup_root[$1]}/$LAB_GROUP/$2"; } # CONTROLLER HOST

# Why limits of this controller cannot be set here; says nothing when they can.
cgroup_objection() { # CONTROLLER
    local root=${cgroup_root[$1]-} given=''
    if [ -z "$root" ]; then
        echo "no control groups for '$1' are mounted (/proc/mounts); try: mount -t cgroup2 none /sys/fs/cgroup"
    elif [ ! -w "$root/cgroup.procs" ]; then
        echo "$root cannot be written"
    elif [ "${cgroup_version[$1]}" = 2 ] && ! given=$(cgroup_delegate "$root" "${1/#blkio/io}" 2>/dev/null); then
        echo "$root/cgroup.subtree_control does not take '+${1/#blkio/io}' (in a container its own processes are in the way)"
    elif [ "$1" = cpu ] && ! cgroup_has_quota "$root"; then
        echo "this kernel has no processor quota (CONFIG_CFS_BANDWIDTH)"
    fi
    # it was only asked; unless a lab that is made meanwhile needs it
    [ -z "$given" ] || [ -e "$LAB_STATE" ] || echo "-${given#* }" >"$root/cgroup.subtree_control" || true
}

# Groups in ROOT may have limits of CONTROLLER (version 2); prints "ROOT CONTROLLER" when they could not before.
cgroup_delegate() { # ROOT CONTROLLER
    grep -qw "$2" "$1/cgroup.subtree_control" || { echo "+$2" >"$1/cgroup.subtree_control" && echo "$1 $2"; }
}

cgroup_has_quota() { # ROOT
    local probe=$1/$LAB_PROBE-$$ file=cpu.cfs_quota_us found=0
    [ "${cgroup_version[cpu]}" = 1 ] || file=cpu.max
    mkdir "$probe" 2>/dev/null || return 1
    [ -e "$probe/$file" ] || found=1
    rmdir "$probe"
    return $found
}

# ---- making ----

cgroups_make() { # HOST: the groups, without limits
    local root controller
    for root in $(cgroup_roots); do
        mkdir -p "$root/$LAB_GROUP"
        if [ -e "$root/cgroup.subtree_control" ]; then
            for controller in cpu memory io; do
                cgroup_delegate "$root" "$controller" >/dev/null 2>&1 || continue # as `check` or --without said
                cgroup_delegate "$root/$LAB_GROUP" "$controller" >/dev/null
            done
        fi
        mkdir "$root/$LAB_GROUP/$1"
    done
}

# The calling process and its children belong to HOST from now on.
cgroups_enter() { # HOST
    local root
    for root in $(cgroup_roots); do echo "$BASHPID" >"$root/$LAB_GROUP/$1/cgroup.procs" || return 1; done
}

limit_cpu() { # HOST PERCENT: of one processor; 0: no limit
    local folder quota period
    folder=$(cgroup_folder cpu "$1")
    read -r quota period < <(awk -v share="$2" -v period="$LAB_PERIOD_US" 'BEGIN {
        if (share == 0) { print -1, 100000; exit }
        if (period * share / 100 < 1000) period = 1000 * 100 / share
        if (period > 1000000) period = 1000000
        printf "%.0f %.0f\n", period * share / 100, period }')
    if [ "${cgroup_version[cpu]}" = 2 ]; then
        echo "${quota/#-1/max} $period" >"$folder/cpu.max"
    else
        echo -1 >"$folder/cpu.cfs_quota_us"
        echo "$period" >"$folder/cpu.cfs_period_us"
        echo "$quota" >"$folder/cpu.cfs_quota_us"
    fi
}

limit_memory() { # HOST BYTES: -1: no limit; swap counts, where the kernel counts it
    local folder both
    folder=$(cgroup_folder memory "$1") both=$(cgroup_folder memory "$1")/memory.memsw.limit_in_bytes
    if [ "${cgroup_version[memory]}" = 2 ]; then
        echo "${2/#-1/max}" >"$folder/memory.max"
        [ ! -e "$folder/memory.swap.max" ] || echo 0 >"$folder/memory.swap.max"
    else
        [ ! -e "$both" ] || echo -1 >"$both" # it may never be the smaller one
        echo "$2" >"$folder/memory.limit_in_bytes"
        [ ! -e "$both" ] || echo "$2" >"$both"
    fi
}

limit_storage() { # HOST BYTES_PER_SECOND DEVICE
    local folder
    folder=$(cgroup_folder blkio "$1")
    if [ "${cgroup_version[blkio]}" = 2 ]; then
        echo "$3 rbps=$2" >"$folder/io.max"
    else
        echo "$3 $2" >"$folder/blkio.throttle.read_bps_device"
    fi
}

# A processor that nobody uses sleeps, and is slow for a while when it wakes; a quota has it woken fifty times a second. Boards would be the
# slower, the less their neighbours do (on one virtual machine a board of 10 % alone took 10 and 23 % more processor time for the same). So a
# process of the idle class, in a group beside the lab's, keeps each processor awake until the lab goes down. It gives way to everything but a
# thread on the same core.
keep_awake() {
    local folder=${cgroup_root[cpu]}/$LAB_AWAKE number _
    mkdir "$folder"
    { echo 1 >"$folder/cpu.idle" || echo 1 >"$folder/cpu.weight" || echo 2 >"$folder/cpu.shares"; } 2>/dev/null || true
    for number in $(awake_processors); do
        (echo "$BASHPID" >"$folder/cgroup.procs" && exec setsid taskset -c "$number" chrt --idle 0 bash -c 'while :; do :; done') \
            </dev/null >/dev/null 2>&1 &
        disown || true
    done
    for _ in {1..100}; do
        [ "$(awake_stat | awk '$41 == 5' | wc -l)" != "$(awake_processors | wc -l)" ] || return 0 # 5: SCHED_IDLE
        sleep 0.05
    done
    fail "the processors cannot be kept awake (taskset, chrt --idle)"
}
awake_processors() { # their numbers, of those that this process may use
    awk '$1 == "Cpus_allowed_list:" { n = split($2, ranges, ","); for (i = 1; i <= n; i++) { split(ranges[i] "-" ranges[i], r, "-")
        for (c = r[1]; c <= r[2]; c++) print c } }' /proc/self/status
}
awake_stat() { # /proc/PID/stat of each that keeps one awake
    local process
    for process in $(cat "${cgroup_root[cpu]-}/$LAB_AWAKE/cgroup.procs" 2>/dev/null); do cat "/proc/$process/stat"; done
}
awake_ticks() { awk '{ sum += $14 + $15 } END { print sum + 0 }' < <(awake_stat); } # processor time that they have used

# The disk, as MAJOR:MINOR, that a folder is on; fails where that is no disk of its own (overlay, tmpfs, network).
disk_of() { # FOLDER
    local number
    number=$(stat -c '%Hd:%Ld' "$1")
    [ -e "/sys/dev/block/$number" ] || return 1
    [ ! -e "/sys/dev/block/$number/partition" ] || number=$(cat "/sys/dev/block/$number/../dev")
    echo "$number"
}

# ---- reading ----

cpu_nanoseconds() { # HOST: that it has used
    local folder
    folder=$(cgroup_folder cpuacct "$1")
    if [ "${cgroup_version[cpuacct]}" = 2 ]; then
        awk '$1 == "usage_usec" { printf "%.0f\n", 1000 * $2 }' "$folder/cpu.stat"
    else
        cat "$folder/cpuacct.usage"
    fi
}

memory_peak() { # HOST: with what the kernel keeps of its files
    cat "$(cgroup_folder memory "$1")"/{memory.max_usage_in_bytes,memory.peak} 2>/dev/null || true
}

# ---- unmaking ----

# All groups of the lab, deepest first.
cgroups_left() {
    local root group
    for root in $(cgroup_roots); do
        for group in "$root/$LAB_GROUP" "$root/$LAB_AWAKE"; do
            [ ! -d "$group" ] || find "$group" -depth -type d
        done
    done
}

# Ends every process in a group, whatever it forks meanwhile; fails when one is still there after ten seconds.
end_group() { # FOLDER
    local pids _
    for _ in {1..200}; do
        pids=$(cat "$1/cgroup.procs" 2>/dev/null) || return 0
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086  # a list of numbers
        kill -KILL $pids 2>/dev/null
        sleep 0.05
    done
    return 1
}

cgroups_remove() {
    local folder _ status=0
    for folder in $(cgroups_left); do
        end_group "$folder" || status=1
        for _ in {1..100}; do
            rmdir "$folder" 2>/dev/null || [ ! -d "$folder" ] && continue 2
            sleep 0.05
        done
        status=1
    done
    return $status
}

# shellcheck shell=bash
# The lab's network: each host is a network namespace with one link, eth0, to a bridge in a namespace of its own (the
# switch), so nothing of it can be seen in the machine's own network, and firewalls there do not see the lab. Host number N
# (the coordinator is 0) has address 10.0.0.(N+1) and hangs on the switch's port pN.
#
# A rate holds in both directions: tbf on eth0 for what the host sends, tbf on pN for what it receives. They count frames with
# Ethernet's, IP's and TCP's headers, so of a rate some 95.6 % are payload (1448 of 1514 bytes).

LAB_PREFIX=stagecoach-lab-
LAB_SWITCH=${LAB_PREFIX}switch
# Segments of 1448 bytes in a frame at least: 64 KiB, as cards with segmentation offload take them. On slow links TCP would make frames of
# two, and the kernel's work for the frames of all boards is charged to whichever computes at that moment (docs/LAB.md).
LAB_SEGMENTS=44

namespace() { echo "$LAB_PREFIX$1"; } # HOST
address() { echo "10.0.0.$(($1 + 1))"; } # NUMBER
in_namespace() { # HOST COMMAND...: becomes it; /sys stays as it is, which `ip netns exec` would hide
    local folder=/run/netns/$LAB_PREFIX$1
    shift
    exec nsenter --net="$folder" -- "$@"
}

# No IPv6, whose chatter would be counted as traffic, and long frames.
quiet_namespace() { # HOST
    ip netns add "$(namespace "$1")"
    (in_namespace "$1" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6') \
        2>/dev/null || true
    (in_namespace "$1" sh -c "echo $LAB_SEGMENTS >/proc/sys/net/ipv4/tcp_min_tso_segs") 2>/dev/null ||
        [ "$1" != switch ] || echo "lab: /proc/sys/net cannot be written: frames on slow links are short, and cost what they should not" >&2
    ip -n "$(namespace "$1")" link set lo up
}

switch_make() {
    quiet_namespace switch
    ip -n "$LAB_SWITCH" link add bridge type bridge
    ip -n "$LAB_SWITCH" link set bridge up
}

network_make() { # HOST NUMBER
    local space
    space=$(namespace "$1")
    quiet_namespace "$1"
    ip -n "$LAB_SWITCH" link add "p$2" type veth peer name eth0 netns "$space"
    ip -n "$LAB_SWITCH" link set "p$2" master bridge up
    ip -n "$space" address add "$(address "$2")/24" dev eth0
    ip -n "$space" link set eth0 up
    use_cubic "$space" "$(address "$2")" || [ "$2" != 1 ] || echo "lab: this kernel has no cubic: TCP's congestion control is not that of boards" >&2
}

# What boards have, whatever this machine has. Of a route, for a namespace's own choice is refused where the machine allows it to itself alone.
use_cubic() { ip -n "$1" route change 10.0.0.0/24 dev eth0 proto kernel scope link src "$2" congctl cubic 2>/dev/null; } # NAMESPACE ADDRESS

# What passes at once (burst): 2 ms' worth, or a frame. What waits: 300 ms' worth, then frames are dropped; with 100 ms a queue of 10 Mbit/s
# held three frames, and TCP sent 4 % of all bytes twice.
limit_network() { # HOST NUMBER BIT_PER_SECOND: 0: no limit
    local rate=$3 burst
    burst=$((rate / 8 / 500 > LAB_SEGMENTS * 1600 ? rate / 8 / 500 : LAB_SEGMENTS * 1600))
    if [ "$rate" = 0 ]; then
        tc -n "$(namespace "$1")" qdisc del dev eth0 root 2>/dev/null || true
        tc -n "$LAB_SWITCH" qdisc del dev "p$2" root 2>/dev/null || true
    else
        tc -n "$(namespace "$1")" qdisc replace dev eth0 root tbf rate "${rate}bit" burst "$burst" latency 300ms
        tc -n "$LAB_SWITCH" qdisc replace dev "p$2" root tbf rate "${rate}bit" burst "$burst" latency 300ms
    fi
}

# As pulling and plugging the cable: both ends lose the carrier, the board keeps its address.
cable() { ip -n "$LAB_SWITCH" link set "p$1" "$2"; } # NUMBER up|down
cable_is_cut() { ip -n "$LAB_SWITCH" -o link show "p$1" | grep -qv '<[^>]*\<UP\>'; } # NUMBER

# A line for each host: NUMBER SENT_BYTES SENT_FRAMES RECEIVED_BYTES RECEIVED_FRAMES, counted by its port.
network_counters() {
    (in_namespace switch cat /proc/net/dev) | sed -n 's/^ *p\([0-9]*\): */\1 /p' | awk '{ print $1, $2, $3, $10, $11 }'
}

# ---- unmaking ----

namespaces_left() { ip netns list 2>/dev/null | awk '{ print $1 }' | grep "^$LAB_PREFIX" || true; }

# Ends what still runs in the lab's namespaces and removes them; links, bridge and rates go with them.
network_remove() {
    local space pids status=0
    for space in $(namespaces_left); do
        pids=$(ip netns pids "$space" 2>/dev/null || true)
        # shellcheck disable=SC2086  # a list of numbers
        [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
    done
    for space in $(namespaces_left); do
        ip netns delete "$space" 2>/dev/null || rm -f "/run/netns/$space" || status=1
    done
    return $status
}

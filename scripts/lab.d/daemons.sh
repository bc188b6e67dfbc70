# shellcheck shell=bash
# Daemons in the lab: a coordinator in its host, a stage in each board, started in the host's namespace and control groups, in a
# session of their own, with their log in $folder/HOST.log. $LAB_STATE/run/HOST notes the process and $LAB_STATE/run/HOST.command
# its command line, one word a line, for `lab start`.

LAB_ENDPOINT=tcp://10.0.0.1:7600

require_binary() { [ -x "$binary" ] || fail "$binary: no such program; build it (make), or name it in \$STAGECOACH"; }

# Becomes a command in a host: its namespace, its control groups.
enter_host() { # HOST COMMAND...
    cgroups_enter "$1" || exit 1
    export STAGECOACH_COORDINATOR=$LAB_ENDPOINT
    in_namespace "$@"
}
in_host() { (enter_host "$@"); } # HOST COMMAND...: runs it there

start_daemon() { # HOST COMMAND...
    local host=$1
    shift
    printf '%s\n' "$@" >"$LAB_STATE/run/$host.command"
    (enter_host "$host" setsid "$@") </dev/null >>"$folder/$host.log" 2>&1 &
    process_note $! "$LAB_STATE/run/$host"
    disown
    while [ -d "/proc/$!" ] && ! daemon_of "$host" >/dev/null; do sleep 0.01; done # until it is where it belongs
}

daemon_of() { # HOST: its process, if it runs
    local pid
    pid=$(process_of "$LAB_STATE/run/$1") || return 1
    [ "$(ip netns identify "$pid" 2>/dev/null)" = "$(namespace "$1")" ] && [ "$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat")" != Z ] &&
        echo "$pid"
} 2>/dev/null

hosts_with_daemons() {
    local file
    for file in "$LAB_STATE"/run/*.command; do
        [ ! -e "$file" ] || basename "$file" .command
    done
}

show_logs() { tail -qn 3 "$folder"/*.log >&2 2>/dev/null || true; }

# ---- starting ----

start_coordinator() { # OPTION...
    local deadline=$((SECONDS + patience))
    rm -f "$folder/endpoint" "$folder"/*.log
    start_daemon coordinator "$binary" coordinator --listen "$LAB_ENDPOINT" --insecure --endpoint-file "$folder/endpoint" "$@"
    until [ -s "$folder/endpoint" ]; do
        daemon_of coordinator >/dev/null || { show_logs && fail "the coordinator ended"; }
        [ $SECONDS -lt $deadline ] || fail "the coordinator does not listen after $patience s"
        sleep 0.1
    done
}

start_stage() { # HOST NAME OPTION...
    local host=$1 name=$2 threads memory reserve
    shift 2
    threads=$(host_value "$host" threads) memory=$(host_value "$host" memory) reserve=$(host_value "$host" reserve)
    [ "$memory" = 0 ] || set -- --memory "$((memory - reserve))B" "$@"
    start_daemon "$host" "$binary" stage --coordinator "$LAB_ENDPOINT" --insecure --name "$name" --threads "$threads" \
        --cache "$weights" "$@"
}

lab_status_json() { in_host coordinator timeout 10 "$binary" status --insecure --json; }

serving() { # STAGES: as many boards serve
    local said
    said=$(lab_status_json 2>/dev/null) || return 1
    [[ $said = *'"state": "serving"'*'"boards": '* ]] && [[ ${said%%'"boards": '*} = *'"state": "serving"'* ]] &&
        [ "$(grep -o '"state": "serving"' <<<"${said#*'"boards": '}" | wc -l)" -ge "$1" ]
}

wait_serving() { # STAGES
    local deadline=$((SECONDS + patience)) host
    until serving "$1"; do
        for host in $(hosts_with_daemons); do
            daemon_of "$host" >/dev/null || { show_logs && fail "the daemon of $host ended; its log is $folder/$host.log"; }
        done
        [ $SECONDS -lt $deadline ] || { show_logs && fail "no $1 boards serve after $patience s"; }
        sleep 0.3
    done
}

# ---- ending ----

stop_daemons() {
    local host pid deadline=$((SECONDS + 5))
    for host in $(hosts_with_daemons); do
        ! pid=$(daemon_of "$host") || kill -TERM "$pid" 2>/dev/null || true
    done
    for host in $(hosts_with_daemons); do
        while pid=$(daemon_of "$host"); do
            [ $SECONDS -lt $deadline ] || kill -KILL "$pid" 2>/dev/null || true
            sleep 0.05
        done
        rm -f "$LAB_STATE/run/$host" "$LAB_STATE/run/$host.command"
    done
}

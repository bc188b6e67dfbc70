# shellcheck shell=bash disable=SC2154  # $parts, $home, $folder and $binary come from state.sh and the script
# Measures what runs in the lab. To be sourced after the lab's other parts, with a lab that is up and state_open called.
#
# Steady state: a stream of images keeps the pipeline full; what is counted lies between two answers, so that neither
# filling nor draining is in it. At both moments the counters of every host are read: processor time of its control group
# and of each thread, bytes of its port.

lab() { "$home/scripts/lab" "$@"; }
lab_image=$home/test/data/lab/plain.png # 224 x 224, one colour: 488 bytes, whose decoding costs half a millisecond

# The lab of a script that ends with lab_unmake. A signal while it is made waits until it is there to be removed.
lab_made=''
lab_make() { # FLEET NETWORK MEMORY
    local stopped=''
    trap 'stopped=1' INT TERM HUP
    lab up ${2:+--network "$2"} ${3:+--memory "$3"} "$1" && lab_made=1
    trap 'exit 130' INT TERM HUP
    [ -z "$stopped" ] || exit 130
    [ -n "$lab_made" ] || exit 1
    state_open
}
lab_unmake() {
    [ -z "$lab_made" ] || lab down >/dev/null
    lab_made=''
}

# MODEL itself if it is a model's folder, else one of that architecture with random weights below FOLDER, made if it is not there.
model_folder() { # MODEL FOLDER
    local made=$1 why
    if [ ! -f "$1/config.json" ]; then
        made=$2/$1
        [ -f "$made/config.json" ] || why=$("$binary" synth "$1" --out "$made" 2>&1 >/dev/null) || true
        [ -f "$made/config.json" ] || fail "'$1' is neither a model's folder nor can it be made: $(tail -n 1 <<<"${why-}")"
    fi
    realpath "$made"
}

# What one process says of these pictures, to FILE.
expect_answers() { # MODEL FILE [OPTION...] PICTURE...
    local why
    why=$("$binary" classify --model "$1" --json --logits "${@:3}" 2>&1 >"$2") || fail "$(tail -n 1 <<<"$why")"
}

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; else print 0 }'; }

# ---- counters ----

# "HOST CPU_NS THREAD:NS,... SENT_BYTES SENT_FRAMES RECEIVED_BYTES RECEIVED_FRAMES" for each host, in its table's order, after
# "time SECONDS IDLE STOLEN ALL", the machine's own in ticks: a virtual one does not always get what its boards are due. The threads
# are those of its daemon. What keeps the processors awake counts as idle.
sample() {
    local host number counters=() pid task ns all user nice system idle wait irq soft steal _
    read -r _ user nice system idle wait irq soft steal _ </proc/stat
    echo "time $EPOCHREALTIME $((idle + wait + $(awake_ticks))) $steal $((user + nice + system + idle + wait + irq + soft + steal))"
    mapfile -t counters < <(network_counters | sort -n)
    while IFS=$'\t' read -r host _; do
        number=$((${number:--1} + 1)) all=''
        pid=$(process_of "$LAB_STATE/run/$host") || pid=0
        for task in "/proc/$pid/task"/*; do
            ! read -r ns _ 2>/dev/null <"$task/schedstat" || all+=${all:+,}${task##*/}:$ns
        done
        echo "$host $(cpu_nanoseconds "$host") ${all:--} ${counters[number]#* }"
    done <"$LAB_STATE/hosts"
}

# "HOST BYTES" that the open sockets of each host have sent. Of its port's bytes nobody knows how many are headers, for the kernel
# hands many segments on as one frame.
tcp_sent() {
    local host
    while IFS=$'\t' read -r host _; do
        echo "$host $(in_namespace "$host" ss -tinH | grep -o 'bytes_sent:[0-9]*' | awk -F : '{ sum += $2 } END { printf "%.0f", sum }')"
    done <"$LAB_STATE/hosts"
}

ports() { paste -d ' ' <(cut -f 1 "$LAB_STATE/hosts") <(network_counters | sort -n) | cut -d ' ' -f 1,3,5; } # "HOST SENT_BYTES RECEIVED_BYTES"

# What happened between $folder/sample.start and sample.end, a line for each host with what its table says of it:
#   HOST SECONDS CPU_S KERNEL_S DAEMON_S SENT_BYTES SENT_FRAMES RECEIVED_BYTES RECEIVED_FRAMES SHARE BIT_PER_S
# KERNEL_S: of as many of the daemon's threads as compute there, those that used most. SHARE: of a processor; 0: no limit.
sample_differences() {
    awk '
        FILENAME ~ /hosts$/ { split($0, f, "\t"); share[f[1]] = f[2] / 100; threads[f[1]] = f[3]; rate[f[1]] = f[6]; next }
        $1 == "time" { t = $2 - t; next }
        FILENAME ~ /start$/ {
            for (i = 2; i <= NF; i++) old[$1, i] = $i
            n = split($3, f, ",")
            for (i = 1; i <= n; i++) { split(f[i], one, ":"); before[one[1]] = one[2] }
            next
        }
        {
            sum = kernel = 0; n = split($3, f, ",")
            for (i = 1; i <= n; i++) { split(f[i], one, ":"); used[i] = (one[2] - before[one[1]]) / 1e9; sum += used[i] }
            for (k = 0; k < threads[$1]; k++) {
                best = 1
                for (i = 2; i <= n; i++) if (used[i] > used[best]) best = i
                kernel += used[best]; used[best] = 0
            }
            printf "%s %.6f %.6f %.6f %.6f", $1, t, ($2 - old[$1, 2]) / 1e9, kernel, sum
            for (i = 4; i <= 7; i++) printf " %.0f", $i - old[$1, i]
            printf " %s %s\n", share[$1] + 0, rate[$1] + 0
        }' "$LAB_STATE/hosts" "$folder/sample.start" "$folder/sample.end"
}

# The time of each line that matters, and the counters then; see measure_stream.
read_answers() { # FROM TO
    local number=0
    while read -r _; do
        number=$((number + 1))
        [ $number != "$1" ] || sample >"$folder/sample.start"
        [ $number != "$2" ] || { sample >"$folder/sample.end" && memory_of_daemons >"$folder/memory"; }
    done
    [ $number -ge "$2" ]
}

memory_of_daemons() { # "HOST RSS_ANON_BYTES"
    local host pid
    for host in $(boards); do
        ! pid=$(daemon_of "$host") || awk -v host="$host" '$1 == "RssAnon:" { printf "%s %.0f\n", host, 1024 * $2 }' "/proc/$pid/status"
    done
}

# Sends WARM + COUNT + WARM microbatches of B; then $folder/window has a line for each host that computed,
#   HOST QUOTA_USED OUTSIDE_KERNELS SENT_BYTES SENT_TCP_BYTES LINK_USED DAEMON_SECONDS      shares of 1; bytes per image
# and the seconds for each microbatch are printed. A board that found more waiting for it than it left behind did more than was answered
# meanwhile, as much more as went through its port for it. What it used is for as many microbatches as were answered: no more
# than that goes on for long. Bytes are of all images, from the first to the last.
measure_stream() { # B WARM COUNT
    local items=$(($1 * (2 * $2 + $3)))
    rm -f "$folder"/sample.* "$folder/memory"
    tcp_sent >"$folder/tcp.start"
    ports >"$folder/ports.start"
    (
        set -o pipefail
        in_host coordinator "$binary" submit --insecure --json --top 0 --quiet --unordered --repeat $items "$lab_image" \
            2>"$folder/submit.err" | read_answers $(($1 * $2)) $(($1 * ($2 + $3)))
    ) || return 1
    ports >"$folder/ports.end"
    tcp_sent >"$folder/tcp.end"
    sample_differences | awk -v items=$(($1 * $3)) -v all=$items '
        FILENAME ~ /tcp.start$/ { tcp[$1] = -$2; next }
        FILENAME ~ /tcp.end$/ { tcp[$1] += $2; next }
        FILENAME ~ /ports.start$/ { sent[$1] = -$2; received[$1] = -$3; next }
        FILENAME ~ /ports.end$/ { sent[$1] += $2; received[$1] += $3; next }
        $1 == "coordinator" || $5 > 0 {
            most = (sent[$1] > received[$1] ? sent[$1] : received[$1]) / all
            through = sent[$1] + received[$1]
            handled = through > 0 && $6 + $8 > 0 ? ($6 + $8) / through * all : items
            printf "%s %.4f %.4f %.0f %.0f %.4f %.3f\n", $1, $3 / $2 / ($10 ? $10 : 1) * items / handled, $5 ? 1 - $4 / $5 : 0, sent[$1] / all,
                tcp[$1] / all, $11 ? 8 * most * items / $2 / ($11 * 1448 / 1514) : 0, $5
        }' "$folder/tcp.start" "$folder/tcp.end" "$folder/ports.start" "$folder/ports.end" - >"$folder/window"
    sample_differences | awk -v count="$3" 'NR == 1 { printf "%.6f\n", $2 / count }'
}

# What was sent again is not measured: true when nothing was since the boards serve, else why. A coordinator that does not answer is no
# good sign either.
undisturbed() {
    local said
    said=$(lab_status_json) || said='no status'
    [ "$(json_value items_replayed <<<"$said")" != 0 ] || return 0
    grep -o '{"time": [^}]*' <<<"$said" | grep '"event": "replayed"' | grep -o '"text": "[^"]*"' || echo "${said:0:200}"
    return 1
}

# Are the logits of these files those of EXPECTED (what `classify --json --logits` printed)?
same_bits() { # EXPECTED FILE...
    local expected=$1
    shift
    in_host coordinator "$binary" submit --insecure --quiet --json --logits "$@" 2>/dev/null | cmp -s - "$expected"
}

# ---- plans ----

# Seconds of each unit for a microbatch, one a line, without quota, with every processor of this machine busy in the same way.
unit_seconds() { # MODEL B
    local copy pids=()
    for copy in $(seq "$(nproc)"); do
        "$binary" bench --model "$1" --microbatch "$2" --threads 1 --repeats 3 --units >/dev/null 2>"$folder/units.$copy" &
        pids+=($!)
    done
    for copy in "${pids[@]}"; do wait "$copy" || return 1; done
    awk '$1 == "unit" { for (i = 3; i < NF; i++) if ($(i + 1) == "ms") { sum[$2] += $i; n[$2]++; if ($2 > last) last = $2 } }
        END { for (u = 0; u <= last; u++) printf "%.9f\n", sum[u] / n[u] / 1e3 }' "$folder"/units.*
}

# What each board says to be its times, measured by all at once under their quotas, to FOLDER/BOARD.json. The memory limits are
# lifted meanwhile: what a profile holds is not what is asked. Fails with which boards could not be, and why.
profile_boards() { # MODEL B SECONDS FOLDER
    local board pids=() failed=''
    for board in $(boards); do
        ! limited memory || limit_memory "$board" -1
        in_host "$board" "$binary" profile --model "$1" --microbatch "$2" --threads "$(host_value "$board" threads)" --budget "$3" \
            --json >"$4/$board.json" 2>"$folder/profile.$board" &
        pids+=($!)
    done
    for board in $(boards); do
        wait "${pids[0]}" || failed+=" $board (status $?: $(tail -n 1 "$folder/profile.$board"))"
        pids=("${pids[@]:1}")
    done
    for board in $(boards); do limit_once "$board"; done
    [ -z "$failed" ] || fail "not profiled:$failed"
}

# A fleet file (docs/FLEET.md) of the lab's first N boards, with what their links carry beside headers. Their times are in
# FOLDER: BOARD.json, or `units` (of unit_seconds), to be divided by their shares.
plan_fleet() { # N B FOLDER
    local kernels=avx2 units=/dev/null
    [ ! -e "$3/units" ] || units=$3/units
    echo "boards:"
    sed 1d "$LAB_STATE/hosts" | head -n "$1" | awk -F '\t' -v b="$2" -v folder="$3" -v kernels=$kernels -v units_file="$units" '
        FILENAME == units_file { unit[++units] = $1; next }
        {
            printf "  - name: %s\n    memory: %.0fB\n    reserve: %.0fB\n", $1, $4 ? $4 : 2 ^ 45, $5
            printf "    link: {bandwidth: %s}\n", $6 ? sprintf("%.0fbit/s", $6 * 1448 / 1514) : "unlimited"
            if (!units) { printf "    profile: %s.json\n", $1; next }
            printf "    kernels: %s\n    threads: %d\n", kernels, $3
            printf "    times:\n      - {microbatch: %d, unit_seconds: [", b
            for (u = 1; u <= units; u++) printf "%s%.9f", (u > 1 ? ", " : ""), unit[u] * 100 / $2
            print "]}"
        }' "$units" -
}

# Of each line the first value of that key: a number, or what is between the quotation marks of a string.
json_value() { # KEY
    awk -v key="\"$1\": " 'at = index($0, key) {
        rest = substr($0, at + length(key))
        if (match(rest, /^"([^"\\]|\\.)*"/)) rest = substr(rest, 2, RLENGTH - 2)
        else sub(/[,}\]].*/, "", rest)
        print rest
    }'
}
# "BOARD FIRST END COMPUTE_S RECEIVE_S SEND_S MEMORY_BYTES" for each stage of a plan in JSON
plan_stages() {
    sed 's/.*"stages": \[//; s/\], "unused".*//; s/}, {/\n/g' "$1" | sed 's/[{}"]//g; s/[a-z_]*: //g; s/,//g'
}
plan_cuts() { plan_stages "$1" | awk 'NR > 1 { print $2 }' | paste -sd ,; } # PLAN
plan_boards() { plan_stages "$1" | awk '{ print $1 }' | paste -sd ,; }      # PLAN

# Starts the daemons as a plan says.
run_plan() { # MODEL B PLAN OPTION...
    local model=$1 items=$2 plan=$3 cuts stages
    shift 3
    cuts=$(plan_cuts "$plan") stages=$(plan_stages "$plan" | wc -l)
    lab run --quick --boards "$(plan_boards "$plan")" --model "$model" --microbatch "$items" --stages "$stages" --policy manual \
        ${cuts:+--cuts "$cuts"} --patience 3600 "$@"
}

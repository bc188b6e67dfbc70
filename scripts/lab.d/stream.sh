# shellcheck shell=bash disable=SC2154  # $binary, $folder, $scratch, $pictures and $microbatch come from the script
# A steady stream of pictures through the lab's fleet, and the judgement of every answer. Two clients submit by turns, so that one
# fills the pipeline while the other begins anew: what is lost is known when a client has ended, and a client's window goes by the
# fleet that it met.
#
# $scratch/answers has a line for each answer, see stream_check.awk; $scratch/expected what one process says to the pictures.

STREAM_PATIENCE=120

# mawk reads ahead from a pipe unless it is told not to; others do not know the option.
if [[ $(awk -W version </dev/null 2>&1) = mawk* ]]; then stream_awk=(awk -W interactive); else stream_awk=(awk); fi

stream_check() { # REPEAT
    local uptime
    read -r uptime _ </proc/uptime
    "${stream_awk[@]}" -v expected="$scratch/expected" -v repeat="$1" \
        -v offset="$(awk -v now="$EPOCHREALTIME" -v uptime="$uptime" 'BEGIN { printf "%.2f", now - uptime }')" -f "$parts/stream_check.awk"
}

stream_client() { # REPEAT FIRST_REPEAT
    local repeat=$2
    while [ ! -e "$scratch/enough" ]; do
        in_host coordinator "$binary" submit --insecure --quiet --json --logits --top 0 --unordered --patience $STREAM_PATIENCE \
            --repeat "$repeat" "${pictures[@]}" 2>>"$scratch/submit.err" | stream_check "$repeat" >>"$scratch/answers"
        repeat=$1
    done
}

# Each submission is worth two fillings of a pipeline of so many boards; the clients begin half of one apart.
stream_start() { # BOARDS
    local repeat=$((2 * (2 * $1 + 2) * microbatch / ${#pictures[@]} + 2))
    : >"$scratch/answers"
    stream_client $repeat $repeat &
    stream_clients=($!)
    stream_client $repeat $((repeat / 2)) &
    stream_clients+=($!)
}

# Ends when everything that was sent is answered.
stream_end() {
    local client
    touch "$scratch/enough"
    for client in "${stream_clients[@]}"; do wait "$client" || true; done
}

stream_count() { awk -v want="$1" '$2 == want { n += $3 } END { print n + 0 }' "$scratch/answers"; } # VERDICT

# Of what was answered from FROM to TO: "RATE GAP FAILED WRONG". RATE: images per second; GAP: the longest time without an answer, which
# may have begun before FROM.
stream_between() { # FROM TO
    awk -v from="$1" -v to="$2" '
        $2 == "lost" || $2 == "doubled" { next }
        $1 > to { exit }
        $1 > from {
            if (last && $1 - last > gap) gap = $1 - last
            if ($2 == "failed") failed++
            if ($2 == "wrong") wrong++
            count++
        }
        { last = $1 }
        END {
            if (last && to - last > gap) gap = to - last
            printf "%.3f %.2f %d %d\n", (to > from ? count / (to - from) : 0), gap, failed, wrong
        }' "$scratch/answers"
}

# The rate at which a full pipeline answers: over those after the first SKIP answers since FROM, when there are COUNT more and they
# took SECONDS at least; else nothing.
stream_steady() { # FROM SKIP COUNT SECONDS
    awk -v from="$1" -v skip="$2" -v count="$3" -v seconds="$4" '
        $1 <= from || $2 == "lost" || $2 == "doubled" { next }
        ++n == skip { first = $1 }
        { last = $1 }
        END { if (first && n >= skip + count && last - first >= seconds) printf "%.3f\n", (n - skip) / (last - first) }' "$scratch/answers"
}

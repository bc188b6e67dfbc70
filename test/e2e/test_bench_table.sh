#!/bin/bash
# What `scripts/bench_lab` prints: `table` (medians over a row's rounds, the range of each column, what is no result), and the stages of a run.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

values='"rounds_period_predicted_quota_link_wire_memory_outside_idle_stolen"'
cat >"$scratch/tight.json" <<END
{"row": "tight", "model": "vit", "microbatch": 1, "fleet": "f.yaml", "network": "", "memory": "50%", "others": "busy", "commit": "abc", "rivals": [{"rival": "4@optimal", "stages": 4, "images_per_second": 1, "ratio": 1, "bits": "equal", $values: [[0.9, 1, 0.99, 0.5, 1.001, 1.05, 0.02, 0.1, 0.03], [0.8, 1, 0.95, 0.3, 1.003, 1.01, 0.04, 0.1, 0.01], [0.7, 1, 0.97, 0.4, 1.002, 1.03, 0.03, 0.1, 0.02]]},{"rival": "16@optimal", "stages": 16, "images_per_second": 3, "ratio": 3.5, "bits": "differ", $values: [[0.25, 0.5, 1, 0.1, 1.1, 1.2, 0.01, 0.1, 0], [0.35, 0.5, 1, 0.1, 1.3, 1.2, 0.01, 0.1, 0]]}]}
END
# An old result: no commit, nothing about the host.
cat >"$scratch/race.json" <<END
{"row": "race", "model": "vit", "microbatch": 1, "fleet": "g.yaml", "network": "1Mbit/s", "memory": "", "rivals": [{"rival": "1@even", "stages": 1, "images_per_second": 1, "ratio": 1, "bits": "equal", ${values/_stolen/}: [[1.1, 1, 0.9, 0, 1, 1, 0.05, 0.1]]}]}
END
cat >"$scratch/latency.json" <<END
{"row": "latency", "rivals": [{"rival": "1@even", "latency_predicted_computing_wire_waiting": [[1, 1, 1, 0, 0]]}]}
END

table() { scripts/bench_lab table "$@"; }
has_row() { # RIVAL CELLS [FILE]: as they stand from the ratio on
    table "${3:-$scratch/tight.json}" "${3:-$scratch/race.json}" >"$scratch/table"
    grep -F -- "$1 | $2" "$scratch/table" || { cat "$scratch/table" && false; }
}
check 'a cell is the median over an odd number of rounds' has_row '4@optimal' \
    '1.00 | 1.00 | -20.0 % | 97.0 % | 40.0 % | 1.0020 | 1.030 | 3.0 % | 2.0 % | equal | 3 | abc |'
check 'and over an even one' has_row '16@optimal' \
    '3.50 | 2.00 | -40.0 % | 100.0 % | 10.0 % | 1.2000 | 1.200 | 1.0 % | 0.0 % | differ | 2 | abc |'
check 'a row tells how the lab was made' has_row 'tight | vit | f, memory 50%, others busy | 4@optimal' '1.00 | 1.00 |'
sed 's/"others": "busy"/"planner": "live"/' "$scratch/tight.json" >"$scratch/live.json"
check 'and who planned' has_row 'tight | vit | f, memory 50%, planner live | 4@optimal' '1.00 | 1.00 |' "$scratch/live.json"
check 'what an old result does not tell is a dash' has_row '1@even' '1.00 | 1.00 | +10.0 % | 90.0 % | 0.0 % | 1.0000 | 1.000 | 5.0 % | - | equal | 1 | - |'
check 'the last row has the least and the most of all files' has_row 'least to most | | | 3 rivals' \
    '| | -40.0 % to +10.0 % | 90.0 % to 100.0 % | 0.0 % to 40.0 % | 1.0000 to 1.2000 | 1.000 to 1.200 | 1.0 % to 5.0 % | 0.0 % to 2.0 % |'

echo '{"row": "race", "model": "vit", "rivals": []}' >"$scratch/nobody.json"
check 'a row of which no rival could run has no line' has_row 'least to most | | | 0 rivals' '| | - | - | - | - | - | - | - |' "$scratch/nobody.json"

refused() { # FILE WHY: in one line that names it
    ! table "$1" >/dev/null 2>"$scratch/said" && [ "$(wc -l <"$scratch/said")" = 1 ] && grep -F -- "$1: $2" "$scratch/said"
}
check 'a row that does not stream has no place in it' refused "$scratch/latency.json" 'want a RESULT.json'
check 'nor has what is no result' refused Makefile 'want a RESULT.json'
check 'nor what is not there' refused "$scratch/none.json" 'cannot be read'

says() { # TEXT WORD...: a command that cannot be meant, in one line, before anything is made
    local text=$1
    shift
    ! scripts/bench_lab "$@" >/dev/null 2>"$scratch/said" && [ "$(wc -l <"$scratch/said")" = 1 ] && grep -F -- "$text" "$scratch/said" && return
    cat "$scratch/said" && false
}
check 'a rival that stands twice is told' says "--rivals: one stands in '4@even,4@even' twice" scaling --rivals 4@even,4@even
check 'so is an option that a row has no use for' says '--items: row latency has no use for it' latency --items 3
check 'and a number that is none' says "--repeats: got '3x', want a whole number" speedup --repeats 3x
check 'and a size that is none' says "--microbatch: got '1,8'" speedup --microbatch 1,8

chart() { # BOARDS: the axis of a curve whose first point are so many
    (cd "$scratch" && printf '1 1.00\n16 13.5\n' | awk -v first="$1" -v title=vit -f "$OLDPWD/scripts/lab.d/scaling_svg.awk" >chart.svg)
    grep -o 'times [^<]*' "$scratch/chart.svg" && tail -n 1 "$scratch/chart.svg"
}
check 'a chart tells what its speeds are times of' test "$(chart 1 | paste -sd ' ')" = 'times one board </svg>'
check 'be it several boards' test "$(chart 4 | paste -sd ' ')" = 'times 4 boards </svg>'

echo 'b1 0.5000 0.0200 1000 1000 0.2500 1.5
coordinator 0.1000 1.0000 10 10 0.0000 0.1' >"$scratch/window"
echo 'b1 30000000 40000000' >"$scratch/memory"
stages() {
    echo 'b1 0 5 0.9 0.4 0.6 32000000' | awk -v rival=2@even -v round=3 -v period=2 -f scripts/lab.d/stages.awk "$scratch/window" "$scratch/memory" - |
        tr -s ' '
}
check 'a stage: planned and computed, on the wire and carried, planned and taken' \
    test "$(stages)" = '2@even 3 b1 0 5 0.9000 1.0000 2.0 % 0.6000 0.5000 32.00 30.00'

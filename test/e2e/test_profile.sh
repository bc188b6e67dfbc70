#!/bin/bash
# What `profile` writes is what `plan` reads, without weights, and never for another model.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

synth vit-nano "$scratch/model"
mkdir "$scratch/bare" "$scratch/bytes"
cp "$scratch/model/config.json" "$scratch/bare"
profile() { run profile --budget 1 --threads 1 "$@" 2>"$scratch/profile.log"; }

fails_with() { # STATUS PATTERN COMMAND...: one line on stderr that matches, nothing on stdout
    local want=$1 pattern=$2 status=0
    shift 2
    run "$@" >"$scratch/stdout" 2>"$scratch/stderr" || status=$?
    echo "status $status" && cat "$scratch"/std*
    [ $status = "$want" ] && [ ! -s "$scratch/stdout" ] && [ "$(wc -l <"$scratch/stderr")" = 1 ] &&
        grep -q "^stagecoach: .*$pattern" "$scratch/stderr"
}

# ---- files ----
written() { # the table on stdout, and both files
    profile --model "$scratch/model" --microbatch 1,4 --name pi --memory 1GiB --reserve 256MiB \
        --out "$scratch/pi.json" --fleet "$scratch/pi.yaml" >"$scratch/table" || return 1
    cat "$scratch/table" "$scratch/profile.log"
    grep -q '^microbatch 1: ' "$scratch/table" && grep -q '^microbatch 4: ' "$scratch/table" &&
        grep -q '^  attention x 2 ' "$scratch/table" && grep -q '^  block 2.1 attention ' "$scratch/table" &&
        grep -q '^measuring for about 1 s at most, .* 1 thread; leave this board alone$' "$scratch/profile.log" && [ "$(find "$scratch" -name '*.part')" = '' ]
}
planned() { # BOARDS FLEET OPTION...
    local boards=$1 fleet=$2
    shift 2
    run plan --model "$scratch/model" --fleet "$fleet" --json "$@" >"$scratch/plan" 2>"$scratch/plan.log" || return 1
    [ "$(grep -o '"board": "[a-z0-9-]*"' "$scratch/plan" | sort -u | wc -l)" -le "$boards" ] && grep -q '"period_s": ' "$scratch/plan"
}
check 'a profile and its fleet file are written' written
check 'the fleet file refers to the profile' grep -q 'profile: "pi.json"' "$scratch/pi.yaml"
check 'memory is what is there less the reserve' grep -q '"memory_bytes": 805306368' "$scratch/pi.json"
check 'the fleet file plans' planned 1 "$scratch/pi.yaml" --microbatch 4
check 'auto chooses among the sizes measured' planned 1 "$scratch/pi.yaml" --microbatch auto
check 'a microbatch that was not measured is refused' fails_with 2 'yaml: board .* has no times for microbatch 8, but for 1, 4: choose' \
    plan --model "$scratch/model" --fleet "$scratch/pi.yaml" --microbatch 8
check 'so it is where none was asked for' fails_with 2 'no times for microbatch 8, but for 1, 4: choose' \
    plan --model "$scratch/model" --fleet "$scratch/pi.yaml"
merged() { # two boards of one kind
    printf 'link: {bandwidth: 1Gbit/s, latency: 0.1ms}\nboards:\n  - {name: pi, count: 2, profile: pi.json}\n' >"$scratch/rack.yaml"
    planned 2 "$scratch/rack.yaml" --microbatch 4
}
check 'a fleet of several boards shares the profile' merged
inline() {
    profile --model "$scratch/model" --microbatch 4 --name pi --memory 1GiB --fleet "$scratch/inline.yaml" >/dev/null &&
        grep -q 'unit_seconds: \[' "$scratch/inline.yaml" && planned 1 "$scratch/inline.yaml" --microbatch 4
}
check 'without --out the fleet file stands alone' inline
short() { # a few digits, with units
    grep -q '^    memory: 1GiB$' "$scratch/inline.yaml" && ! grep -v '^fingerprint' "$scratch/inline.yaml" | grep -E '[0-9.]{11}'
}
check 'its numbers are short' short
check 'the only microbatch measured need not be named' planned 1 "$scratch/inline.yaml"
check 'and is told' grep -q '"microbatch": 4,' "$scratch/plan"
needs_no_weights() {
    run plan --model "$scratch/bare" --fleet "$scratch/inline.yaml" --json | sed 's/"solve_s": [^,]*//' >"$scratch/bare.plan"
    sed 's/"solve_s": [^,]*//' "$scratch/plan" | cmp - "$scratch/bare.plan"
}
check 'a plan needs no weights' needs_no_weights
cuts_line() { # what the table says can be typed
    run plan --model "$scratch/bare" --fleet configs/fleet.yaml --policy even >"$scratch/table" || return 1
    local cuts
    cuts=$(sed -n 's/^cuts        --cuts \([0-9,]*\) .*/\1/p' "$scratch/table")
    [ -n "$cuts" ] && run plan --model "$scratch/bare" --fleet configs/fleet.yaml --cuts "$cuts" >"$scratch/again" &&
        [ "$(grep -c 'MiB' "$scratch/again")" = "$(grep -c 'MiB' "$scratch/table")" ] &&
        grep -q "^cuts        --cuts $cuts " "$scratch/again"
}
check 'the table gives cuts to be typed' cuts_line

# ---- stdout ----
json() { profile --model "$1" --json >"$scratch/lines" && grep -q '^{"architecture": .*"fingerprint": ".*"microbatch": 8, .*}$' "$scratch/lines"; }
valid_json() { [ "$(wc -l <"$scratch/lines")" = 1 ] && { [ ! -x "$HELPER" ] || "$HELPER" json <"$scratch/lines"; }; }
fingerprint() { sed 's/.*"fingerprint": "\([0-9a-f]*\)".*/\1/' "$1"; }
same_fingerprint() { [ "$(fingerprint "$scratch/lines")" = "$(fingerprint "$scratch/pi.json")" ]; }
check 'JSON on stdout' json "$scratch/model"
check 'one line of JSON' valid_json
check 'config.json is enough' json "$scratch/bare"
check 'and tells the same model' same_fingerprint

# ---- faults ----
# as many units and the same architecture, but wider
sed 's/"hidden_size": [0-9]*/"hidden_size": 96/' "$scratch/model/config.json" >"$scratch/bytes/config.json"
profile --model "$scratch/bytes" --out "$scratch/wide.json" --fleet "$scratch/wide.yaml" >/dev/null || give_up 'no profile of a wider model'
printf 'boards:\n  - {name: a, profile: pi.json}\n  - {name: b, profile: wide.json}\n' >"$scratch/mixed.yaml"
check "another model's profile is refused" fails_with 2 "wide.yaml:[0-9]*:[0-9]*: fingerprint: these are another model's times" plan --model "$scratch/model" --fleet "$scratch/wide.yaml"
check 'so are profiles of two models' fails_with 2 "mixed.yaml:3:.*another model's profile" plan --model "$scratch/model" --fleet "$scratch/mixed.yaml"
check 'no model' fails_with 2 '--model DIR is missing' profile
check 'no such model' fails_with 2 'nothing: No such file' profile --model "$scratch/nothing"
check 'sizes out of order' fails_with 2 "--microbatch: got '4,1'" profile --model "$scratch/bare" --microbatch 4,1
check 'no items' fails_with 2 '--microbatch: ' profile --model "$scratch/bare" --microbatch 0
check 'too many items' fails_with 2 '--microbatch: ' profile --model "$scratch/bare" --microbatch 1,5000
check 'a reserve of all' fails_with 2 '--reserve: got' profile --model "$scratch/bare" --memory 1MiB --reserve 1MiB
check 'the same on a stage' fails_with 2 '--reserve: got' stage --memory 1MiB --reserve 1MiB
check 'unknown kernels' fails_with 2 'abacus' profile --model "$scratch/bare" --kernels abacus
check 'a name with blanks' fails_with 2 "--name: got 'a b'" profile --model "$scratch/bare" --name 'a b'
check 'no folder to write to' fails_with 2 '--out: .*nowhere/p.json: No such file' profile --model "$scratch/bare" --budget 1 --out "$scratch/nowhere/p.json"
check 'a storage that is not there' fails_with 1 '--storage: ' profile --model "$scratch/bare" --storage "$scratch/nowhere"

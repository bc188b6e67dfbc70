#!/bin/bash
# A pipeline of any shape answers with the bits of one process.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

images=(test/data/images/{rgb.jpg,progressive.jpg,cmyk.jpg,grey_16.png,rgba_8_interlaced.png,exif_6.jpg,large.jpg,narrow.jpg})
RANDOM=${E2E_SEED:=$((RANDOM * 32768 + RANDOM))}
echo "E2E_SEED=$E2E_SEED repeats the random cuts"

synth vit-nano "$scratch/vit"
synth deit-nano-distilled "$scratch/deit"
synth vit-tiny "$scratch/deep" # enough units for 16 stages
embedding=test/data/golden/vit_model

random_cuts() { # COUNT UNITS: so many different ones, ascending
    for _ in $(seq 1000); do echo $((1 + RANDOM % ($2 - 1))); done | awk -v n="$1" '!seen[$0]++ && n-- > 0' | sort -n | paste -sd,
}

same_answers() { # EXPECTED FILE...
    local expected=$1
    shift
    submit "$@" >"$scratch/answers" && cmp "$scratch/answers" "$scratch/$expected"
}

pipeline() { # NAME STAGES MODEL OPTION...
    local name=$1 stages=$2 model=$3
    shift 3
    start_fleet "$stages" --model "$model" "$@"
    check "$name" same_answers "expected-$(basename "$model")" "${images[@]}"
    stop_fleet
}

for model in "$scratch"/{vit,deit} "$embedding"; do
    classify "expected-$(basename "$model")" "$model" "${images[@]}"
done
classify expected-deep "$scratch/deep" "${images[@]:0:3}"

pipeline 'one stage' 1 "$scratch/vit" --microbatch 8
pipeline 'two stages, microbatches of 1' 2 "$scratch/vit" --microbatch 1
pipeline 'three stages, microbatches of 3' 3 "$scratch/deit" --microbatch 3
pipeline 'five stages' 5 "$scratch/deit" --microbatch 8
for stages in 3 5; do
    cuts=$(random_cuts $((stages - 1)) 20)
    pipeline "vit cut at $cuts" $stages "$scratch/vit" --cuts "$cuts" --microbatch 3
    cuts=$(random_cuts $((stages - 1)) 20)
    pipeline "deit cut at $cuts" $stages "$scratch/deit" --cuts "$cuts" --microbatch 8
done
pipeline 'an embedding from two stages' 2 "$embedding" --microbatch 3
check 'an embedding is called so' grep -q '"embedding": \[' "$scratch/answers"

start_fleet 16 --model "$scratch/deep" --cuts "$(random_cuts 15 74)" --microbatch 2
check 'sixteen stages' same_answers expected-deep "${images[@]:0:3}"
stop_fleet

start_fleet 3 --model "$scratch/vit" --microbatch 8

several_clients() {
    local client number pids=()
    for client in 1 2 3 4 5 6; do
        # each client has its own order of files
        number=$((client % ${#images[@]}))
        local files=("${images[@]:number}" "${images[@]:0:number}")
        for _ in 1 2 3 4; do cat <(tail -n +$((number + 1)) "$scratch/expected-vit") <(head -n "$number" "$scratch/expected-vit"); done \
            >"$scratch/want-$client"
        submit --repeat 4 "${files[@]}" >"$scratch/got-$client" &
        pids+=($!)
    done
    for client in 1 2 3 4 5 6; do
        wait "${pids[client - 1]}" && cmp "$scratch/got-$client" "$scratch/want-$client" || return 1
    done
}
check 'six clients at once each get their own answers in order' several_clients

many_files() { # more than fit the window
    local number files=()
    for number in $(seq 0 499); do
        files+=("${images[number % ${#images[@]}]}")
        sed -n "$((1 + number % ${#images[@]}))p" "$scratch/expected-vit"
    done >"$scratch/want"
    same_answers want "${files[@]}"
}
check 'five hundred files' many_files

top_only() {
    run submit --quiet --json --top 2 "${images[0]}" >"$scratch/answers" &&
        run classify --model "$scratch/vit" --json --top 2 "${images[0]}" | cmp - "$scratch/answers"
}
check '--top, no logits' top_only

as_text() {
    run submit --quiet "${images[@]}" >"$scratch/answers" && run classify --model "$scratch/vit" "${images[@]}" | cmp - "$scratch/answers"
}
check 'as text' as_text
stop_fleet

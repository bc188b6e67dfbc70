#!/bin/bash
# Stages need nothing but the coordinator's address: weights come from it once, are checked, and are kept.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

image=test/data/images/rgb.jpg
synth vit-nano "$scratch/model"
synth vit-nano "$scratch/other" 2
classify expected "$scratch/model" $image
classify expected-other "$scratch/other" $image

answer_is() { submit $image >"$scratch/answers" && cmp "$scratch/answers" "$scratch/$1"; }
fetched() { board_value "$1" fetched_bytes; }
fetched_nothing() { [ "$(fetched "$1")" = 0 ] && [ "$(board_value "$1" load_total_bytes)" -gt 0 ]; }
fetched_all() { [ "$(fetched "$1")" -gt 0 ] && [ "$(fetched "$1")" = "$(board_value "$1" load_total_bytes)" ]; }
tensors() { find "$1/tensors" -type f; } # CACHE

# A stage in a folder of its own, without a home, that knows an address and nothing else.
start_bare() { # NAME
    mkdir -p "$scratch/bare-$1"
    (cd "$scratch/bare-$1" && exec env -u HOME -u STAGECOACH_COORDINATOR XDG_CACHE_HOME="$PWD/cache" \
        "$binary" stage --coordinator "$STAGECOACH_COORDINATOR" --name "$1" --threads 1 2>>"$scratch/$1.log") &
    stage_pid[$1]=$!
}
binary=$(realpath "$STAGECOACH")

start_coordinator --model "$scratch/model" --stages 2
start_bare b1
start_bare b2
wait_serving 2 || give_up "does not serve: $(status)"
check 'the address of the coordinator is all that a stage needs' answer_is expected
check 'the first stage fetched its slice' fetched_all b1
check 'the second stage fetched its slice' fetched_all b2
check 'weights are cached below XDG_CACHE_HOME' test -n "$(tensors "$scratch/bare-b1/cache/stagecoach")"
stop_fleet

start_coordinator --model "$scratch/model" --stages 2
start_bare b2 # who comes first must not matter
here() { [ "$(board_value "$1" state)" = waiting ]; }
wait_until "$PATIENCE" here b2 || give_up "b2 does not join: $(status)"
start_bare b1
wait_serving 2 || give_up "does not serve a second time: $(status)"
check 'the second start answers alike' answer_is expected
check 'the second start fetches nothing: first stage' fetched_nothing b1
check 'the second start fetches nothing: second stage' fetched_nothing b2
kill -TERM "${stage_pid[b2]}"
check 'a stage that is told to end does' wait_ended "${stage_pid[b2]}"
start_bare b2
wait_serving 2 || give_up "does not serve after a stage came back: $(status)"
check 'a stage that comes back fetches nothing' fetched_nothing b2
stop_fleet

# One folder for three stages at once.
shared=$scratch/shared
start_coordinator --model "$scratch/model" --stages 3
start_stages 3 --cache "$shared"
wait_serving 3 || give_up "does not serve from a shared cache: $(status)"
check 'three stages share one cache' answer_is expected
stop_fleet

# Each cached tensor is named by its content, so a changed one is found out, deleted and fetched anew.
whole=$(tensors "$shared" | wc -l)
for file in $(tensors "$shared"); do
    case $((damage = (${damage:-0} + 1) % 4)) in
    0) printf 'X' | dd of="$file" conv=notrunc status=none ;;
    1) truncate -s -1 "$file" ;;
    2) truncate -s 0 "$file" ;;
    3) dd if=/dev/zero of="$file" bs=1 count="$(stat -c %s "$file")" status=none ;; # a zero tensor may stay what it was
    esac
done
start_coordinator --model "$scratch/model" --stages 3
start_stages 3 --cache "$shared"
wait_serving 3 || give_up "does not serve after its cache was damaged: $(status)"
check 'damaged tensors are not believed' answer_is expected
check 'damaged tensors are fetched again' test "$(fetched b1)" -gt 0
check 'the cache is whole again' test "$(tensors "$shared" | wc -l)" = "$whole"
stop_fleet
start_coordinator --model "$scratch/model" --stages 3
start_stages 3 --cache "$shared"
wait_serving 3 || give_up "does not serve from its mended cache: $(status)"
check 'the mended cache is believed' fetched_nothing b1
stop_fleet

# Tensors of another model under the names of this one's.
mapfile -t files < <(tensors "$shared" | sort)
first=${files[0]}
for file in "${files[@]:1}"; do
    cp "$file" "$scratch/held" && cp "$first" "$file" && first=$scratch/held
done
start_coordinator --model "$scratch/model" --stages 3
start_stages 3 --cache "$shared"
wait_serving 3 || give_up "does not serve after tensors were swapped: $(status)"
check 'swapped tensors are not believed' answer_is expected
stop_fleet

# A cache that holds two models serves each its own.
start_coordinator --model "$scratch/other" --stages 3
start_stages 3 --cache "$shared"
wait_serving 3 || give_up "does not serve another model: $(status)"
check 'another model from the same cache' answer_is expected-other
stop_fleet

# No room.
start_coordinator --model "$scratch/model" --stages 1
start_stage small --cache-limit 1KiB
unfit() { [ "$(board_value small state)" = unfit ]; }
check 'a cache that is too small makes a board unfit' wait_until "$PATIENCE" unfit
check 'and status says why' grep -q 'stage small .*cannot serve: cache .*raise the cache limit' <(status)
check 'and the stage lives on' alive "${stage_pid[small]}"
stop_fleet

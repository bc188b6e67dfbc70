#!/bin/bash
# What users get wrong: each fault is one clear line with the right exit status, and nothing else is lost by it.
# shellcheck source=test/e2e/library.sh
. test/e2e/library.sh

image=test/data/images/rgb.jpg
synth vit-nano "$scratch/model"
# every number that is neither 1 nor 2 is a crash or a hang
fails_with() { # STATUS PATTERN ARGUMENT...: one line on stderr that matches, nothing on stdout
    local want=$1 pattern=$2 status=0
    shift 2
    run "$@" >"$scratch/stdout" 2>"$scratch/stderr" || status=$?
    grep -v ' info \|^stagecoach: waiting up to' "$scratch/stderr" >"$scratch/fault"
    echo "status $status" && cat "$scratch"/std*
    [ $status = "$want" ] && [ ! -s "$scratch/stdout" ] && [ "$(wc -l <"$scratch/fault")" = 1 ] &&
        grep -q "^stagecoach: .*$pattern" "$scratch/fault"
}

# ---- usage: exit status 2 ----
usage() { check "usage: ${*:2}" fails_with 2 "$@"; }
usage 'unknown command' nonsense
usage '--nonsense: unknown option' submit --nonsense x
usage 'FILE... is missing' submit
usage '--model DIR is missing' classify $image
usage '--model DIR is missing' coordinator
usage '--out DIR is missing' synth vit-nano
usage "--top: got 'many', want a whole number" submit --top many x
usage "--top: got '-1', want a whole number" submit --top -1 x
usage "--top: got '1001', want a whole number from 0 to 1000" submit --top 1001 x
usage '--top: K is missing' submit x --top
usage "--microbatch: got '0'" coordinator --model "$scratch/model" --microbatch 0
usage "--cuts: got '5,3', want ascending" coordinator --model "$scratch/model" --cuts 5,3
usage "--cuts: got 99, want less than the model's 20 units" coordinator --model "$scratch/model" --cuts 5,99 --listen tcp://127.0.0.1:0
usage '--cuts: 2 cuts make 3 stages, but --stages is 2' coordinator --model "$scratch/model" --cuts 5,7 --stages 2
usage "--policy: got 'best', want one of" coordinator --model "$scratch/model" --policy best
usage "--memory: got '5 apples', want a size such as" stage --memory '5 apples'
usage '--listen: "foo": does not start with tcp://' stage --name b --cache "$scratch/cache" --insecure --listen foo
usage '--cache: /proc/nowhere: ' stage --name b --cache /proc/nowhere
usage "--name: got 'a b'" stage --name 'a b'
usage "want tcp://HOST:PORT" stage --coordinator nowhere
usage "want tcp://HOST:PORT" status --coordinator tcp://127.0.0.1:99999
usage "want tcp://HOST:PORT" coordinator --model "$scratch/model" --listen 7600
usage 'kernels "abacus"' stage --kernels abacus
usage "'x': only --watch takes a number" status x
usage "y: one argument too many; see 'stagecoach synth --help'" synth vit-nano y
usage "x: one argument too many; see 'stagecoach keys --help'" keys list x
usage "x: one argument too many; see 'stagecoach coordinator --help'" coordinator x
usage "--memory: got '1', which is 1 byte; want at least 1MiB" stage --memory 1
usage "--memory: got '512', which is 512 bytes; want at least 1MiB" profile --model "$scratch/model" --memory 512
usage "--patience: got '0', want a whole number from 1 to" submit --patience 0 x
for command in 'classify x' bench coordinator profile 'plan --fleet configs/fleet.yaml'; do
    # shellcheck disable=SC2086  # a command and its options
    usage "--model $scratch/nothing: No such file" $command --model "$scratch/nothing"
done
usage 'config.json: not a directory; want one with config.json in it' bench --model "$scratch/model/config.json"
usage 'there must be keys' coordinator --model "$scratch/model" --listen tcp://0.0.0.0:0 --state none
usage 'give --insecure' stage --listen tcp://0.0.0.0:0 --coordinator tcp://127.0.0.1:1

printf 'stages: 3\nmicrobach: 4\n' >"$scratch/unknown.yaml"
usage "unknown.yaml:2:1: microbach: unknown key" coordinator --config "$scratch/unknown.yaml"
printf 'stages: 3\nmicrobatch: [1\n' >"$scratch/broken.yaml"
usage 'broken.yaml:[0-9]*:[0-9]*: ' coordinator --config "$scratch/broken.yaml"
printf 'stages: 3\nmicrobatch: none\n' >"$scratch/word.yaml"
usage "word.yaml:2:13: microbatch: got 'none', want a whole number" coordinator --config "$scratch/word.yaml"
usage 'No such file' coordinator --config "$scratch/absent.yaml"

# ---- model directories: exit status 1 ----
faulty() { # NAME PATTERN: $scratch/faulty is a copy of the model, made faulty
    check "a model directory with $1" fails_with 1 "$2" coordinator --model "$scratch/faulty" --listen tcp://127.0.0.1:0
    check "a model directory with $1: classify" fails_with 1 "$2" classify --model "$scratch/faulty" $image
}
copy() { rm -rf "$scratch/faulty" && cp -r "$scratch/model" "$scratch/faulty"; }
weights=$scratch/faulty/model.safetensors
patch_header() { # SED-SCRIPT: of the same length
    local size
    size=$(od -An -t u8 -N 8 "$weights")
    head -c $((8 + size)) "$weights" | tail -c "$size" | sed "$1" | dd of="$weights" bs=1 seek=8 conv=notrunc status=none
}
copy && rm "$scratch/faulty/config.json" && faulty 'no config.json' 'config.json: No such file'
copy && rm "$weights" && faulty 'no weights' 'neither model.safetensors nor'
copy && : >"$weights" && faulty 'empty weights' 'model.safetensors: '
copy && truncate -s -100 "$weights" && faulty 'truncated weights' 'model.safetensors: '
copy && truncate -s 100 "$weights" && faulty 'a header longer than the file' 'model.safetensors: '
copy && printf '\377\377\377\377\377\377\377\377' | dd of="$weights" conv=notrunc status=none &&
    faulty 'a header of 2^64 bytes' 'model.safetensors: '
copy && sed -i 's/ViTForImageClassification/GPT5ForEverything/' "$scratch/faulty/config.json" && faulty 'an unknown architecture' 'GPT5ForEverything'
copy && sed -i 's/{/{{/' "$scratch/faulty/config.json" && faulty 'broken JSON' 'config.json'
copy && sed -i 's/"hidden_size": [0-9]*/"hidden_size": -48/' "$scratch/faulty/config.json" && faulty 'a negative size' 'config.json: hidden_size: got -48'
copy && sed -i 's/"hidden_size": [0-9]*/"hidden_size": 96/' "$scratch/faulty/config.json" && faulty 'tensors of other shapes' 'want '
copy && patch_header 's/^{/[/' && faulty 'a broken header' 'model.safetensors'
copy && patch_header 's/vit.layernorm.weight/vit.layernorm.eighth/' && faulty 'a missing tensor' 'vit.layernorm.weight'
# the first tensor's bytes, claimed by the last one as well
copy && patch_header 's/"data_offsets":\[\([0-9]*\),\([0-9]*\)\]/"data_offsets":[0,\2]/3' && faulty 'overlapping tensors' 'model.safetensors: '
copy && echo '[]' >"$scratch/faulty/preprocessor_config.json" && faulty 'a preprocessor that is none' 'preprocessor_config.json'

copy && head -c $((5 << 20)) /dev/zero | tr '\0' ' ' >>"$scratch/faulty/config.json" &&
    check 'a model directory whose config.json no message can carry' fails_with 1 'config.json: 52[0-9]* bytes, want at most 4194304' \
        coordinator --model "$scratch/faulty" --listen tcp://127.0.0.1:0

# A label that would be two lines, and end a terminal's title.
copy && sed -i 's/"0": "[^"]*"/"0": "cat\\nb: dog\\u001b]0;x\\u0007"/' "$scratch/faulty/config.json"
labels_are_printable() {
    "$STAGECOACH" classify --model "$scratch/faulty" --top 100 $image >"$scratch/labels" || return 1
    [ "$(wc -l <"$scratch/labels")" = 1 ] && grep -F 'cat?b: dog?]0;x?' "$scratch/labels" && ! LC_ALL=C grep -q '[[:cntrl:]]' "$scratch/labels"
}
check 'labels with control characters stay in their line' labels_are_printable

# ---- what is written ----
mode() { stat -c %a "$scratch/modes/config.json" "$scratch/modes/model.safetensors" "$scratch/modes" | paste -sd ' '; }
as_the_umask_says() {
    (umask 027 && synth vit-nano "$scratch/modes")
    [ "$(mode)" = '640 640 750' ] || { mode && false; }
}
check 'synth: who may read follows the umask' as_the_umask_says
check 'a directory that cannot be made' fails_with 1 'mkdir' synth vit-nano --out "$scratch/model/config.json/x"
reads_back() { # the sizes of --print-config carry units, and read back equal
    run stage --memory 1536MiB --cache-limit 1000000000 --print-config >"$scratch/printed.yaml"
    cat "$scratch/printed.yaml"
    grep -qx 'memory: 1536MiB' "$scratch/printed.yaml" && grep -qx 'cache-limit: 1000000000B' "$scratch/printed.yaml" &&
        run stage --config "$scratch/printed.yaml" --print-config | cmp - "$scratch/printed.yaml"
}
check '--print-config: sizes have units' reads_back

# ---- files among others ----
mkdir "$scratch/files" "$scratch/files/directory"
good=(test/data/images/{rgb.jpg,rgb_16.png,large.jpg})
cp "${good[@]}" "$scratch/files"
: >"$scratch/files/empty.png"
head -c 60 "${good[1]}" >"$scratch/files/short.png"
head -c 500 "${good[0]}" >"$scratch/files/short.jpg"
printf '\377\330\377\340' >"$scratch/files/start.jpg"
echo 'no image' >"$scratch/files/text.png"
truncate -s 65M "$scratch/files/oversized.jpg"
# 60000 x 60000 pixels in IHDR, and nothing behind it
{ printf '\211PNG\r\n\032\n\0\0\0\rIHDR\0\0\352\140\0\0\352\140\010\002\0\0\0' && head -c 200 /dev/zero; } >"$scratch/files/bomb.png"
# the same within the bounds of a checksum that is right, so that only its size is wrong
{ printf '\211PNG\r\n\032\n\0\0\0\rIHDR\0\0\352\140\0\0\352\140\010\002\0\0\0\362\354\052\153' && tail -c +34 "${good[1]}"; } >"$scratch/files/huge.png"
mkfifo "$scratch/files/pipe"
printf -v strange '%s/files/a"b\\c\n\351.png' "$scratch" # a name that JSON must escape
cp "${good[1]}" "$strange"
(cd "$scratch/files" && ln -s missing.png dangling.png)
files=("$scratch"/files/{rgb.jpg,empty.png,missing.png,short.png,directory,rgb_16.png,short.jpg,start.jpg,text.png,oversized.jpg,bomb.png,huge.png,pipe,dangling.png,large.jpg} "$strange")

fails_as_one() { # COMMAND...: exit status 1, and what it says is $scratch/NAME
    local status=0
    "$@" >"$scratch/lines" 2>"$scratch/said.log" || status=$?
    [ $status = 1 ] || { echo "exit status $status" && false; }
}
lines_are_right() {
    local number=0 line file
    [ "$(wc -l <"$scratch/lines")" = ${#files[@]} ] || return 1
    while IFS= read -r line; do
        file=${files[number++]}
        case $file in
        */rgb.jpg | */rgb_16.png | */large.jpg | "$strange") grep -q '"top": \[{' <<<"$line" || return 1 ;;
        *) grep -q "^{\"file\": \"$file\", \"error\": \"[^\"].*\"}$" <<<"$line" || { echo "$line" && return 1; } ;;
        esac
    done <"$scratch/lines"
}
valid_json() { "$HELPER" json <"$scratch/lines"; }

check 'classify: bad files among good ones: status 1' fails_as_one run classify --model "$scratch/model" --json --threads 1 --logits "${files[@]}"
check 'classify: a line for each' lines_are_right
[ ! -x "$HELPER" ] || check 'classify: each line is JSON' valid_json
cp "$scratch/lines" "$scratch/classified"
start_fleet 2 --model "$scratch/model"
check 'submit: bad files among good ones: status 1' fails_as_one submit "${files[@]}"
check 'submit: a line for each' lines_are_right
[ ! -x "$HELPER" ] || check 'submit: each line is JSON' valid_json
check 'submit: says what classify says' cmp "$scratch/lines" "$scratch/classified"
check 'a bomb is refused by its size' grep -q 'huge.png", "error": "[^"]*60000' "$scratch/lines"
check 'only bad files: status 1' fails_as_one submit "$scratch/files/empty.png"
as_text() {
    run submit --quiet "$scratch/files/empty.png" >"$scratch/stdout" 2>"$scratch/stderr"
    [ $? = 1 ] && [ ! -s "$scratch/stdout" ] && grep -q '/empty.png: error: empty file, want' "$scratch/stderr"
}
check 'as text, faults go to stderr' as_text
status >"$scratch/lines"
[ ! -x "$HELPER" ] || check 'status: its line is JSON' valid_json

# ---- ports and peers ----
check 'a port in use' fails_with 1 'port in use' coordinator --model "$scratch/model" --listen "$STAGECOACH_COORDINATOR"
check "a board's port in use" fails_with 1 'port in use' stage --listen "$(board_value b1 endpoint)" --name b9
again() { # the name is taken: tries again, until it is free
    grep -q 'already here' "$scratch/b1.log"
}
start_stage b1
check 'a second board of one name is told so' wait_until "$PATIENCE" again
check 'and does not end' alive "${stage_pid[b1]}"
if [ -x "$HELPER" ]; then
    check 'a board of another version is refused in words' \
        sh -c "'$HELPER' hello '$STAGECOACH_COORDINATOR' 1 9.9.9 2>&1 | grep 'refused: .* runs version 9.9.9 .*install the same version'"
    check 'a board of another protocol is refused in words' \
        sh -c "'$HELPER' hello '$STAGECOACH_COORDINATOR' 7 9.9.9 2>&1 | grep 'refused: .*(protocol 7).*install the same version'"
fi
stop_fleet

unreachable() { # ARGUMENT...: an error after about five seconds
    local begun
    begun=$(milliseconds)
    fails_with 1 'no coordinator answers: tcp://127.0.0.1:1: nothing listens there; is it running' "$@" \
        --coordinator tcp://127.0.0.1:1 || return 1
    took=$(($(milliseconds) - begun))
    echo "$took ms"
    [ $took -gt 4000 ] && [ $took -lt 8000 ]
}
check 'submit without a coordinator' unreachable submit $image
check 'status without a coordinator' unreachable status
check 'a host that nobody knows' fails_with 1 'unknown host "no-such-host.invalid" (.*is this address right' \
    status --insecure --coordinator tcp://no-such-host.invalid:7600
check '--patience bounds the first connect, too' fails_with 1 'no coordinator answers' \
    submit --patience 1 --coordinator tcp://127.0.0.1:1 $image

# Stages first, then the coordinator.
start_coordinator --model "$scratch/model"
endpoint=$STAGECOACH_COORDINATOR
stop_fleet
start_stages 2
sleep 1
check 'a stage waits for its coordinator' alive "${stage_pid[b1]}"
LISTEN=$endpoint start_coordinator --model "$scratch/model" --stages 2
check 'and joins it when it comes' wait_serving 2

# Reads a lab's fleet file, a small subset of YAML (docs/LAB.md): comments, `key: value`, `coordinator:` with keys below it
# and `boards:` with a list of `- key: value`. Prints one line for each host, the coordinator first, fields with tabs between:
#
#   NAME  CPU_PERCENT  THREADS  MEMORY_BYTES  RESERVE_BYTES  NETWORK_BIT_PER_S  STORAGE_BYTE_PER_S      0: no limit
#
# -v file=NAME for messages; -v network=RATE in place of every board's; -v memory=PERCENT of what every board has beside its
# reserve. The first mistake is told on stderr as FILE:LINE: WHY,
# and the exit status is 2 then; nothing is printed.

function fail(why) { failed = 1; print (option ? option : file ":" (at ? at : NR)) ": " why > "/dev/stderr"; exit 2 }
function known(word, words) { return index(" " words " ", " " word " ") > 0 }

# A number with its unit; units: "UNIT FACTOR UNIT FACTOR ..."
function quantity(text, units,    n, part, i, number, unit) {
    if (!match(text, /^[0-9]+(\.[0-9]+)?/)) fail(key ": got '" text "', want a number with its unit, such as " example)
    number = substr(text, 1, RLENGTH); unit = substr(text, RLENGTH + 1)
    n = split(units, part, " ")
    for (i = 1; i < n; i += 2)
        if (part[i] == unit) return number * part[i + 1]
    fail(key ": got '" text "', want a number with its unit, such as " example)
}
function some(number, text) { # 0 would be no limit
    if (number < 1) fail(key ": got '" text "', want more than nothing, such as " example)
    return number
}
function size(text) {
    example = "512MiB"
    return quantity(text, "B 1 KiB 1024 MiB 1048576 GiB 1073741824 kB 1e3 MB 1e6 GB 1e9")
}
function rate(text) {
    example = "30Mbit/s or unlimited"
    return text == "unlimited" ? 0 : some(quantity(text, "bit/s 1 kbit/s 1e3 Mbit/s 1e6 Gbit/s 1e9"), text)
}
function disk(text) {
    example = "80MB/s"
    return some(quantity(text, "B/s 1 kB/s 1e3 MB/s 1e6 GB/s 1e9 KiB/s 1024 MiB/s 1048576 GiB/s 1073741824"), text)
}
function whole(text, low, high) {
    if (text !~ /^[0-9]+$/ || text + 0 < low || text + 0 > high)
        fail(key ": got '" text "', want a whole number from " low " to " high)
    return text + 0
}
function percent(text) {
    example = "10% (of one processor)"
    text = quantity(text, "% 1")
    if (text < 0.1 || text > 100000) fail(key ": got '" text "%', want 0.1% or more")
    return text
}

function parse(name, value) {
    key = name
    if (name == "cpu") return percent(value)
    if (name == "memory") return some(size(value), value)
    if (name == "reserve") return size(value)
    if (name == "network") return rate(value)
    if (name == "storage") return disk(value)
    if (name == "threads") return whole(value, 1, 256)
    if (name == "count") return whole(value, 1, 16)
    if (value !~ /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/ || length(value) > 48)
        fail(key ": got '" value "', want letters, digits, '.', '_' or '-'")
    if (value == "switch" || value == "coordinator") fail("a board cannot be called '" value "'")
    return value
}

function set(name, value,    allowed) {
    allowed = section == "boards" ? "name count cpu threads memory reserve network storage" : "cpu memory network"
    if (!known(name, allowed)) fail("'" name "' is not known here; want one of: " allowed)
    if (name in entry) fail("'" name "' stands here twice")
    if (value == "") fail(name ": want a value")
    entry[name] = parse(name, value)
}

function host(name) {
    if (name in names) fail("two boards are called '" name "'")
    names[name] = 1
    return sprintf("%s\t%.9g\t%d\t%.0f\t%.0f\t%.0f\t%.0f\n", name, entry["cpu"], entry["threads"], entry["memory"],
        entry["reserve"], entry["network"], entry["storage"])
}

# The entry that ends here becomes a host, or `count` of them.
function finish() {
    if (!open) return
    open = 0
    at = started
    finish_entry()
    at = 0
}

function finish_entry(    i) {
    if (section == "coordinator") {
        coordinator = host("coordinator")
        return
    }
    if (!("name" in entry)) fail("this board has no name")
    if (!("cpu" in entry)) fail("board " entry["name"] " has no cpu")
    if (!("threads" in entry)) entry["threads"] = 1
    if (network != "") entry["network"] = network_rate
    if (memory != "")
        entry["memory"] = entry["memory"] ? entry["reserve"] + int((entry["memory"] - entry["reserve"]) * memory / 100) : 0
    if (entry["memory"] && entry["reserve"] >= entry["memory"]) fail("board " entry["name"] ": reserve leaves no memory")
    if (boards + ("count" in entry ? entry["count"] : 1) > 16) fail("more than 16 boards")
    if (!("count" in entry)) { hosts = hosts host(entry["name"]); boards++ }
    else for (i = 1; i <= entry["count"]; i++) { hosts = hosts host(entry["name"] "-" i); boards++ }
}

BEGIN {
    key = "of every board"
    option = "--memory"; example = "50%"
    if (memory != "") memory = some(quantity(memory ~ /^[0-9.]+$/ ? memory "%" : memory, "% 1"), memory)
    option = "--network"
    if (network != "") network_rate = rate(network)
    option = ""
}

function begin() { finish(); split("", entry); open = 1; started = NR }

{
    sub(/\r$/, "")
    line = $0
    sub(/(^|[ ]+)#.*$/, "", line)
    sub(/ +$/, "", line)
    if (line == "") next
    if (line ~ /\t/) fail("a tab; want spaces")
    if (line ~ /^[a-z]+:$/) { # a section
        finish()
        section = substr(line, 1, length(line) - 1)
        if (!known(section, "coordinator boards")) fail("'" section "' is not known here; want one of: coordinator boards")
        if (section in sections) fail("'" section "' stands here twice")
        sections[section] = 1
        if (section == "coordinator") begin()
        next
    }
    if (section == "boards" ? line !~ /^  (- |  )[a-z]+:( .*)?$/ : line !~ /^  [a-z]+:( .*)?$/)
        fail("want " (section == "boards" ? "'  - key: value' or '    key: value'" : \
                      section == "" ? "'coordinator:' or 'boards:'" : "'  key: value'"))
    if (section == "") fail("want 'coordinator:' or 'boards:'")
    if (line ~ /^  - /) begin()
    else if (!open) fail("want '  - name: ...' first")
    sub(/^  (- )? */, "", line)
    name = line; sub(/:.*/, "", name)
    value = line; sub(/^[a-z]+: */, "", value)
    set(name, value)
}

END {
    if (failed) exit 2
    finish()
    if (!failed && boards == 0) fail("no boards")
    if (failed) exit 2
    if (coordinator == "") { split("", entry); coordinator = host("coordinator") }
    printf "%s%s", coordinator, hosts
}

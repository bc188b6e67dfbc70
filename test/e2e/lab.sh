# shellcheck shell=bash disable=SC2034,SC2154  # shared with the tests; $scratch comes from library.sh
# What tests in the lab share: a lab of the test's own, in $fleet, that goes away when the test ends. To be sourced after library.sh.
export TMPDIR=$scratch LAB_PATIENCE=$PATIENCE STAGECOACH
unset LAB_WEIGHTS LAB_PERIOD_US
ours=''
fleet=$scratch/fleet-$$.yaml

lab() { scripts/lab "$@" 2>&1; }
end_lab() {
    local status=$?
    [ -z "$ours" ] || lab down >/dev/null
    (exit $status)
    clean_up
}
trap end_lab EXIT

# From here on the lab is this test's. The test ends here where the machine cannot, or somebody else uses the lab. One that a killed run of a
# test left is taken down; its fleet file has the test's process in its name.
claim_lab() {
    local why left
    why=$(lab check) || { echo "skip lab: ${why#lab: }" && exit 0; }
    left=$(sed -n 's|.*/stagecoach-e2e[^/]*/fleet-\([0-9]*\)\.yaml$|\1|p' /run/stagecoach-lab/fleet 2>/dev/null)
    [ -z "$left" ] || alive "$left" || lab down >/dev/null
    if [ -e /run/stagecoach-lab ]; then
        echo "skip lab: somebody uses it (scripts/lab status), or left it (scripts/lab down): $(cat /run/stagecoach-lab/fleet)"
        exit 0
    fi
    ours=yes
}

#!/usr/bin/env bash
# The newcomer's path: clones the repository into an empty directory and runs the README's two commands as written.
#
# usage: tests/newcomer.sh [REPOSITORY]      default: the repository this file is in, at its last commit
#
# The two commands are the lines of the README's first ```sh block, and there must be exactly two. A command that
# answers on port 6379 is taken for the server: data is stored in it with redis-cli, it is killed with SIGKILL, started
# again by the same command, asked for the data, and ended with SIGTERM. Any other command must end with status 0.
#
# What this deliberately is not: fast. Nothing is shared with this working tree, so everything is built anew.
set -euo pipefail

repository=${1:-$(cd "$(dirname "$0")/.." && pwd)}
home=$(mktemp -d)
job=
finish() {
    [ -z "$job" ] || kill -KILL -- "-$job" 2> /dev/null || true
    rm -rf "$home"
}
trap finish EXIT

fail() {
    echo "newcomer: $1" >&2
    exit 1
}

answers() {
    [ "$(redis-cli -p 6379 PING 2> /dev/null)" = PONG ]
}

# Starts a command as its own process group, so that a signal reaches what cargo or a shell started.
start() {
    setsid bash -c "$1" < /dev/null &
    job=$!
}

# Waits until the command has ended (status 0 wanted) or answers as a server; says which.
started_or_ended() {
    while kill -0 "$job" 2> /dev/null; do
        if answers; then
            kind=server
            return
        fi
        sleep 0.1
    done
    wait "$job" || fail "this command failed: $command"
    kind=ended
}

ended_by() {
    kill "-$1" -- "-$job"
    wait "$job" 2> /dev/null || true
    while answers; do sleep 0.1; done
    job=
}

store_kill_and_look() {
    [ "$(redis-cli SET newcomer 'was here')" = OK ] || fail "the server refused a SET"
    ended_by KILL
    start "$command"
    started_or_ended
    [ "$kind" = server ] || fail "the server did not start again: $command"
    [ "$(redis-cli GET newcomer)" = 'was here' ] || fail "an acknowledged SET was lost by a kill"
    ended_by TERM
}

answers && fail "something answers on port 6379 already"
git clone --quiet --no-local "$repository" "$home/clone"
cd "$home/clone"
[ -f README.md ] || fail "there is no README.md"
mapfile -t commands < <(awk '/^```sh$/ {inside = 1; next} /^```/ && inside {exit} inside && NF && !/^#/' README.md)
[ "${#commands[@]}" = 2 ] || fail "the README's first sh block must hold exactly two commands, not ${#commands[@]}"

for command in "${commands[@]}"; do
    echo "newcomer: $command"
    start "$command"
    started_or_ended
    if [ "$kind" = server ]; then
        store_kill_and_look
        echo "newcomer: ok, and what was stored survived a kill"
    else
        job=
        echo "newcomer: ok"
    fi
done
[ -z "$(git status --porcelain)" ] || fail "the commands left files that git does not ignore: $(git status --porcelain)"

#!/bin/sh
# A walk through the HTTP interface with curl alone: submit a task, follow it, read what came of it, check the audit log.
#
#     ARBITER_SERVER=http://127.0.0.1:7700 ARBITER_KEY_FILE=~/.local/share/arbiter/operator.key ./walk-through.sh
#
# An agent that takes tasks of the kind `analysis` should be running: agent.py beside this file is one.
set -eu

server=${ARBITER_SERVER:?the address of the server, such as http://127.0.0.1:7700}
key_file=${ARBITER_KEY_FILE:?the file of a key}

# The key goes in by a file that curl reads, so that it is not seen among the processes.
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
printf 'authorization: Bearer %s\n' "$(cat "$key_file")" >"$headers"

call() {
    method=$1 path=$2
    shift 2
    curl --silent --show-error --fail-with-body --header "@$headers" --request "$method" "$server$path" "$@"
}

# The value of a field that is a string; `jq -r .id` does it better where there is one.
field() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1
}

echo "1. The server is ready:"
curl --silent --show-error --fail "$server/readyz"
echo

echo "2. Submit a task. The idempotency key makes it safe to send it again:"
key=walk-through-$$
task='{"kind": "analysis", "title": "Count", "instructions": "Count the words.", "input": {"text": "one two three\nfour"}}'
id=$(call POST /v1/tasks --json "$task" --header "idempotency-key: $key" | field id)
again=$(call POST /v1/tasks --json "$task" --header "idempotency-key: $key" | field id)
echo "$id, and again $again"
[ "$id" = "$again" ]

echo "3. Follow it to its end (server-sent events):"
call GET "/v1/tasks/$id/watch" --no-buffer | sed -n 's/.*"state":"\([a-z_]*\)".*/\1/p'

echo "4. What became of it:"
call GET "/v1/tasks/$id/attempts"
echo
[ "$(call GET "/v1/tasks/$id" | field state)" = succeeded ]

echo "5. What the audit log says about it:"
call GET "/v1/audit/entries?resource=$id&limit=5"
echo

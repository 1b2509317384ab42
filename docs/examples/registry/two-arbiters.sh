#!/bin/sh
# Two arbiters on this machine: one is the other's registry of agents.
#
#     PATH=target/release:$PATH ./two-arbiters.sh
#
# Needs `arbiter`, built with the feature `registry-http`, and curl. Everything is in a folder that is removed at the end.
set -eu

folder=$(mktemp -d)
pids=
stop() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap stop EXIT

# The value of a field that is a string; `jq -r .id` does it better where there is one.
field() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1
}

# Starts a server on a free port and waits until it says where it is.
serve() {
    arbiter --config "$folder/$1.toml" --data-dir "$folder/$1" --json serve --listen 127.0.0.1:0 \
        >"$folder/$1.out" 2>"$folder/$1.err" &
    pids="$pids $!"
    until [ -s "$folder/$1.out" ]; do
        kill -0 "$!" 2>/dev/null || { cat "$folder/$1.err" >&2; exit 1; }
        sleep 0.1
    done
    printf 'authorization: Bearer %s\n' "$(cat "$folder/$1/operator.key")" >"$folder/$1.headers"
}

address() {
    field url <"$folder/$1.out"
}

# Calls a server as its operator.
call() {
    server=$1 method=$2 path=$3
    shift 3
    curl --silent --show-error --fail-with-body --header "@$folder/$server.headers" --request "$method" \
        "$(address "$server")$path" "$@"
}

: >"$folder/registry.toml"
serve registry
echo "1. The registry is at $(address registry). Its admin makes a peer:"
system=00000000-0000-0000-0000-000000000000
peer=$(call registry POST "/v1/principals?tenant=$system" --json '{"name": "near", "roles": ["peer"]}' | field id)
call registry POST "/v1/principals/$peer/keys?tenant=$system" --json '{}' | field secret >"$folder/peer.key"
chmod 600 "$folder/peer.key"
echo "$peer"

cat >"$folder/near.toml" <<END
[registry]
url = "$(address registry)"
key_file = "peer.key"
END
echo "2. The other arbiter finds that the registry answers it:"
arbiter --config "$folder/near.toml" --data-dir "$folder/near" doctor | grep 'agent registry'

serve near
echo "3. An agent that is registered at the near arbiter is known to the registry:"
agent=$(call near POST /v1/principals --json '{"name": "counter", "kind": "agent", "roles": ["agent"]}' | field agent)
call near POST /v1/agents \
    --json "{\"id\": \"$agent\", \"name\": \"counter\", \"model_family\": \"none\", \"kinds\": [\"analysis\"]}" >"$folder/told"
echo "$(call registry GET "/v1/agents/$agent" | field name)"

echo "4. Quarantine at the registry counts at the near arbiter:"
call registry POST "/v1/agents/$agent/mode" --json '{"mode": "quarantined", "reason": "it invents results"}'
echo "$(call near GET "/v1/agents/$agent" | field mode)"

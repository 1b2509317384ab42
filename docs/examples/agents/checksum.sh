#!/bin/sh
# SHA-256 and size of every input artifact (exec protocol 1). It needs nothing of the order but its input, so it
# leaves standard input alone. Names of artifacts are letters, digits, `.`, `_` and `-`: nothing to escape in JSON.
set -eu

separator=
printf '{"version":1,"outcome":"succeeded","output":{'
for path in "$ARBITER_INPUT"/*; do
    [ -f "$path" ] || continue
    digest=$(sha256sum <"$path")
    bytes=$(wc -c <"$path")
    printf '%s"%s":{"sha256":"%s","bytes":%d}' "$separator" "${path##*/}" "${digest%% *}" "$bytes"
    separator=,
done
printf '}}\n'

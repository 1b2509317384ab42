#!/bin/sh
# Takes its time: ten steps of 0.2 s, then the digest and the number of lines of the artifact `document`
# (exec protocol 1). It needs nothing of the order but its input, so it leaves standard input alone.
set -eu

document=$ARBITER_INPUT/document
if [ ! -f "$document" ]; then
    printf '{"version":1,"outcome":"failed","error":{"class":"missing_input","message":"no artifact: document"}}\n'
    exit 0
fi

step=1
while [ "$step" -le 10 ]; do
    printf '{"progress":{"fraction":0.%02d,"message":"step %d of 10"}}\n' $((step * 9)) "$step" >&2
    sleep 0.2
    step=$((step + 1))
done

digest=$(sha256sum <"$document")
lines=$(wc -l <"$document")
printf '{"version":1,"outcome":"succeeded","output":{"sha256":"%s","lines":%d}}\n' "${digest%% *}" "$lines"

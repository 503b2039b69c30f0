#!/bin/sh
# A training in POSIX shell, as docs/training-process.md has it: score = lr * epoch. Goes on after the last saved epoch.

number() { printf '%s' "$line" | sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }
text() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

echo '{"kind": "ready"}'
while read -r line; do
    [ "$(text kind)" = train ] || continue
    trial=$(number trial) epochs=$(number epochs) lr=$(number lr) folder=$(text checkpoints)
    echo "a line for people: trial $trial"

    epoch=0
    if [ -n "$folder" ] && [ -f "$folder/reports" ]; then
        epoch=$(wc -l < "$folder/reports")
    fi
    reports=$([ "$epoch" -eq 0 ] || paste -sd, "$folder/reports")
    echo "{\"kind\": \"begun\", \"trial\": $trial, \"reports\": [$reports]}"

    while [ "$epoch" -lt "$epochs" ]; do
        epoch=$((epoch + 1))
        score=$(echo "$lr $epoch" | awk '{ print $1 * $2 }')
        if [ -n "$folder" ]; then  # the report before, and this one: aside, then renamed
            mkdir -p "$folder"
            { cat "$folder/reports" 2> /dev/null
              echo "{\"epoch\": $epoch, \"values\": {\"score\": $score}, \"seconds\": 0.5}"; } > "$folder/aside"
            sync "$folder/aside"
            mv "$folder/aside" "$folder/reports"
        fi
        echo "{\"kind\": \"report\", \"trial\": $trial, \"epoch\": $epoch, \"values\": {\"score\": $score}}"
        read -r line || exit  # the verdict, or the end
        [ "$(printf '%s' "$line" | sed -n 's/.*"go":\([a-z]*\).*/\1/p')" = true ] || break
    done
    echo "{\"kind\": \"finished\", \"trial\": $trial}"
done

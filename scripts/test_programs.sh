#!/bin/sh
# ent, rngtest and dieharder (Debian packages ent, rng-tools5, dieharder) on three streams of the default array:
#     scripts/test_programs.sh FOLDER
# Writes NAME.ent, NAME.rngtest (four seeds, 80,000 blocks) and NAME.dieharder for each stream; some hours on two cores.
set -eu
mkdir -p "$1" && cd "$1"
for name in raw xor stabilised; do
    case $name in
        raw) options="--raw" ;;
        xor) options="" ;;
        stabilised) options="--imperfect --condition stabilise" ;;
    esac
    # shellcheck disable=SC2086 # the options are words
    voltaspin bits --count 80000000 --out - --seed 1 $options | ent > "$name.ent"
    : > "$name.rngtest"
    for seed in 1 2 3 4; do
        voltaspin bits --count 400000000 --out - --seed "$seed" $options | rngtest -c 20000 2>> "$name.rngtest" > /dev/null || true
    done
    voltaspin bits --out - --seed 1 $options | dieharder -a -g 200 -k 2 > "$name.dieharder"
done
grep -c PASSED ./*.dieharder

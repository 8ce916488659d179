#!/bin/bash
# down.sh - stop the processes that up.sh started, by pid files with pid and start time. Idempotent.
# Keeps logs and configuration; SLURM_PURGE=1 removes $SLURM_BASE too.
set -uo pipefail
BASE=${SLURM_BASE:-/tmp/lightning-rcnn-slurm}
# What lies below it is removed: nothing else may be meant.
[[ $BASE =~ ^/[[:alnum:]._/-]+$ ]] || { echo "down.sh: SLURM_BASE '$BASE': give a full path of letters, digits and ._-" >&2; exit 1; }
stime() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 !~ /[ZX]/ {print $20}'; }   # empty for a zombie: pid 1 may be slow to reap
pid_of() { local p s; [ -s "$1" ] || return 1; read -r p s <"$1"; [ "$(stime "$p")" = "$s" ] && echo "$p"; }
stop() { # FILE SIGNAL: send it, wait up to 5 s, then KILL
  local p; p=$(pid_of "$1") || { rm -f "$1"; return 0; }
  kill -"$2" "$p" 2>/dev/null
  for _ in $(seq 100); do pid_of "$1" >/dev/null || break; sleep 0.05; done
  pid_of "$1" >/dev/null && kill -KILL "$p"
  rm -f "$1"
}
[ -d "$BASE/run" ] || { echo "down.sh: nothing to do"; exit 0; }
if [ "$(cat $BASE/mode 2>/dev/null)" = plain ] && pid_of $BASE/run/ctl.pid >/dev/null; then
  # without pid namespaces: cancel the jobs, and wait until their steps have ended
  export SLURM_CONF=$BASE/etc/slurm.conf
  timeout 10 scancel -f -s KILL --user=root 2>/dev/null; timeout 10 scancel --user=root 2>/dev/null
  for _ in $(seq 100); do [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
fi
# netns: KILL to `unshare` ends the node's pid 1 (--kill-child) and so each process, mount and interface of that node
SIG=TERM; [ "$(cat $BASE/mode 2>/dev/null)" = netns ] && SIG=KILL
for f in $BASE/run/node*.pid $BASE/run/ctl.pid; do [ -e "$f" ] && stop "$f" $SIG; done
[ -e $BASE/run/munged.pid ] && stop $BASE/run/munged.pid TERM
if [ "$(cat $BASE/mode 2>/dev/null)" = plain ]; then
  # processes that a job left behind have this cluster's configuration and a job id in their environment
  for d in /proc/[0-9]*; do
    e=$({ tr '\0' '\n' <$d/environ; } 2>/dev/null) || continue
    grep -qx "SLURM_CONF=$BASE/etc/slurm.conf" <<<"$e" && grep -q '^SLURM_JOB_ID=' <<<"$e" && { echo "down.sh: left behind by a job: ${d#/proc/} $(cat $d/comm)"; kill -KILL "${d#/proc/}"; }
  done
fi
rm -rf $BASE/run $BASE/state $BASE/spool $BASE/munge
[ "${SLURM_PURGE:-0}" = 1 ] && rm -rf "$BASE"
echo "down.sh: down"

#!/bin/bash
# up.sh - start a real SLURM cluster of 2 nodes on one machine. Needs root, but no systemd. Idempotent.
#   SLURM_BASE   (default /tmp/lightning-rcnn-slurm)   everything lives here: conf, munge key+socket, state, spool, logs, pids
#   SLURM_MODE   netns (default): each node has its own net+uts+mount+pid namespace, own hostname and address,
#                       joined by a bridge inside the controller's namespace; nothing is visible outside
#                plain: multiple-slurmd (-N) on loopback only; needs no CAP_SYS_ADMIN
#   SLURM_NODES  (default 2), SLURM_CPUS per node (default 1), SLURM_MEM MiB per node (default 4096)
#   SLURM_CRED_EXPIRE (default 5, SLURM's minimum: below 5 it silently uses 120) seconds; also how long a requeued job waits before it may start again
#   SLURM_KILLWAIT (default 30, as in SLURM)
# Afterwards: $SLURM_BASE/bin/sl CMD...   runs CMD on the "login node", e.g.  /tmp/lightning-rcnn-slurm/bin/sl sbatch job.sh
#   netns: SL_NODE=node2 $SLURM_BASE/bin/sl CMD...   runs CMD inside that node, e.g. `ps`, `kill -9 PID`
set -euo pipefail
BASE=${SLURM_BASE:-/tmp/lightning-rcnn-slurm} MODE=${SLURM_MODE:-netns} N=${SLURM_NODES:-2} CPUS=${SLURM_CPUS:-1} MEM=${SLURM_MEM:-4096}
CRED=${SLURM_CRED_EXPIRE:-5} KW=${SLURM_KILLWAIT:-30}
t0=$(date +%s.%N); die() { echo "up.sh: $*" >&2; exit 1; }
[[ $BASE =~ ^/[[:alnum:]._/-]+$ ]] || die "SLURM_BASE '$BASE': give a full path of letters, digits and ._-"
[ "$(id -u)" = 0 ] || die "must be root"
for c in munged slurmctld slurmd scontrol; do command -v $c >/dev/null || die "no $c: apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"; done

# alive NAME: the process of run/NAME.pid runs, and is the one that we started (pid + start time)
alive() { local p s; [ -s "$BASE/run/$1.pid" ] || return 1; read -r p s <"$BASE/run/$1.pid"; [ "$(stime "$p")" = "$s" ]; }
stime() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 !~ /[ZX]/ {print $20}'; }   # empty for a zombie: pid 1 may be slow to reap
# bg NAME CMD...: start it detached, record pid and start time
bg() { local n=$1; shift; setsid "$@" </dev/null >>"$BASE/log/$n.out" 2>&1 & local p=$!; echo "$p $(stime $p)" >"$BASE/run/$n.pid"; }
child() { local c; for _ in $(seq 100); do c=$(cat "/proc/$1/task/$1/children" 2>/dev/null) && [ -n "$c" ] && { echo $c; return; }; sleep 0.02; done; die "no child of $1"; }
pidof_() { cut -d' ' -f1 "$BASE/run/$1.pid"; }

parts=(munged ctl); for i in $(seq $N); do parts+=(node$i); done
up=0; for p in "${parts[@]}"; do alive $p && up=$((up+1)) || true; done
if [ $up = ${#parts[@]} ] && [ "$(cat $BASE/mode)" = $MODE ]; then echo "up.sh: already up ($MODE)"; exit 0; fi
[ ! -e "$BASE/run" ] || "$(dirname "$(readlink -f "$0")")/down.sh" >/dev/null   # partly up, or stale: start from scratch

rm -rf $BASE/log.old; [ ! -d $BASE/log ] || mv $BASE/log $BASE/log.old
mkdir -p $BASE/{bin,etc,munge,state,spool,log,run}; chmod 755 $BASE $BASE/munge; echo $MODE >$BASE/mode
if [ $MODE = netns ]; then
  CTLHOST=ctl CTLADDR=10.77.0.1 COMM=""
  NODES="NodeName=node[1-$N] NodeHostname=node[1-$N] NodeAddr=node[1-$N] Port=26818"
  { echo "127.0.0.1 localhost"; echo "10.77.0.1 ctl"; for i in $(seq $N); do echo "10.77.0.$((10+i)) node$i"; done; } >$BASE/etc/hosts
else
  CTLHOST=$(hostname) CTLADDR=127.0.0.1 COMM="CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"
  # node names are loopback addresses: Lightning takes MASTER_ADDR from SLURM_NODELIST, and this needs no /etc/hosts
  NODES="NodeName=127.0.0.[2-$((N+1))] NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=[26821-$((26820+N))]"
fi
cat >$BASE/etc/slurm.conf <<CONF
ClusterName=tiny
SlurmctldHost=$CTLHOST($CTLADDR)
SlurmctldPort=26817
$COMM
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$BASE/munge/munge.socket.2,cred_expire=$CRED
StateSaveLocation=$BASE/state
SlurmdSpoolDir=$BASE/spool/%n
SlurmctldPidFile=$BASE/run/slurmctld.inner
SlurmdPidFile=$BASE/run/slurmd.%n.inner
SlurmctldLogFile=$BASE/log/slurmctld.log
SlurmdLogFile=$BASE/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc=$BASE/log/jobcomp.log
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
FirstJobId=$(( $(date +%s) % 1000000 + 1 ))
JobRequeue=1
KillWait=$KW
MessageTimeout=60
ReturnToService=2
MinJobAge=3600
$NODES CPUs=$CPUS RealMemory=$MEM State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

# munge: one daemon with our own key; its socket is a path, so every namespace can reach it
[ -s $BASE/munge/munge.key ] || (umask 077; head -c 1024 /dev/urandom >$BASE/munge/munge.key)
bg munged munged --foreground --key-file=$BASE/munge/munge.key --socket=$BASE/munge/munge.socket.2 \
   --pid-file=$BASE/run/munged.inner --log-file=$BASE/log/munged.log --seed-file=$BASE/munge/munged.seed
for _ in $(seq 100); do munge -n -S $BASE/munge/munge.socket.2 2>/dev/null | unmunge -S $BASE/munge/munge.socket.2 >/dev/null 2>&1 && ok=1 && break; ok=0; sleep 0.05; done
[ $ok = 1 ] || die "munged did not answer; see $BASE/log"

export SLURM_CONF=$BASE/etc/slurm.conf
if [ $MODE = netns ]; then
  # The recorded process is `unshare --kill-child`: its death ends pid 1 of the node, and with it every process of the node.
  NS=(unshare --net --uts --mount --pid --fork --kill-child=KILL --mount-proc)
  # pid 1 is bash, which reaps orphans; it starts the daemon when the network is up
  INIT='hostname "$1"; mount --bind "$2/etc/hosts" /etc/hosts; mount -t tmpfs tmpfs /dev/shm; ip link set lo up
        for i in $(seq 500); do [ -e "$2/run/net.ok" ] && break; sleep 0.02; done; shift 2; "$@" & wait $!; echo "daemon ended: $?"; sleep infinity & wait'
  rm -f $BASE/run/net.ok
  bg ctl "${NS[@]}" bash -c "$INIT" init ctl $BASE slurmctld -D -f $SLURM_CONF
  for i in $(seq $N); do bg node$i "${NS[@]}" bash -c "$INIT" init node$i $BASE slurmd -D -f $SLURM_CONF -N node$i; done
  c=$(child $(pidof_ ctl))
  for _ in $(seq 100); do [ "$(readlink /proc/$c/ns/net)" != "$(readlink /proc/$$/ns/net)" ] && break; sleep 0.02; done
  in_() { nsenter -t "$1" --net -- "${@:2}"; }
  in_ $c ip link add br0 type bridge; in_ $c ip addr add 10.77.0.1/24 dev br0; in_ $c ip link set br0 up
  for i in $(seq $N); do
    n=$(child $(pidof_ node$i))
    in_ $c ip link add v$i type veth peer name eth0 netns $n   # created inside the controller's namespace: invisible outside
    in_ $c ip link set v$i master br0 up
    in_ $n ip addr add 10.77.0.$((10+i))/24 dev eth0; in_ $n ip link set eth0 up
  done
  touch $BASE/run/net.ok
  cat >$BASE/bin/sl <<SL
#!/bin/bash
export SLURM_CONF=$SLURM_CONF
p=\$(cut -d' ' -f1 $BASE/run/\${SL_NODE:-ctl}.pid) || exit 1; c=\$(cat /proc/\$p/task/\$p/children)
exec nsenter -t \${c%% *} --net --uts --mount --pid -- /bin/bash -c 'cd "\$1" && shift && exec "\$@"' sl "\$PWD" "\$@"
SL
else
  bg ctl slurmctld -D -f $SLURM_CONF
  for i in $(seq $N); do bg node$i slurmd -D -f $SLURM_CONF -N 127.0.0.$((i+1)); done
  printf '#!/bin/bash\nexport SLURM_CONF=%s\nexec "$@"\n' $SLURM_CONF >$BASE/bin/sl
fi
chmod 755 $BASE/bin/sl
end=$((SECONDS+30)) idle=0
while [ $SECONDS -lt $end ] && alive ctl; do
  [ "$(timeout 3 $BASE/bin/sl sinfo -h -N -t idle -o %N 2>/dev/null | wc -l)" = $N ] && idle=1 && break; sleep 0.1
done
[ $idle = 1 ] || { for f in $BASE/log/*; do echo "== $f"; tail -n 8 "$f"; done >&2; die "nodes not idle (waited at most 30 s)"; }
echo "up.sh: $N nodes idle ($MODE) in $(echo "$(date +%s.%N) - $t0" | awk '{printf "%.1f", $1-$3}') s; use $BASE/bin/sl sbatch ..."

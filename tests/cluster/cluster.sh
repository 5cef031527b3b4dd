#!/usr/bin/env bash
# A private SLURM of three nodes on this one host, for the tests: CONTRIBUTING.md says what it needs and does.
#   cluster.sh start            start what does not run, put nodes back to work, print how to use it
#   cluster.sh status           0 if everything runs
#   cluster.sh stop | purge     end everything, and for purge delete the state folder
#   cluster.sh up | down | kill DAEMON    (kill: -9)   DAEMON: munged mariadbd slurmdbd slurmctld cpu1 gpu1 gpu2
# Everything lies in one folder, .cluster of the repository, or $PCIM_CLUSTER. Ports follow from its path, or $PCIM_CLUSTER_PORT.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

STATE=$(realpath -m "${PCIM_CLUSTER:-$(dirname "$0")/../../.cluster}")
PORT=${PCIM_CLUSTER_PORT:-$((20000 + $(printf %s "$STATE" | cksum | cut -d ' ' -f 1) % 1000 * 10))}
NODES=(cpu1 gpu1 gpu2)
DAEMONS=(munged mariadbd slurmdbd slurmctld "${NODES[@]}")
ME=$(id -un)
HOST=$(uname -n)
HOST=${HOST%%.*}
SOCKETS=$STATE/sockets
export SLURM_CONF=$STATE/etc/slurm.conf
unset "${!SLURM_JOB@}" "${!SLURM_STEP@}"

fail() {
    echo "cluster: $*" >&2
    exit 1
}

# eventually SECONDS COMMAND...: ask ten times a second until it succeeds.
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# ---- configuration ----------------------------------------------------------------------------------------------------------

# Which of SLURM's ways to hold a job's processes works here: v1, v2, or none for a plain user.
cgroups() {
    if [ "$(id -u)" -ne 0 ]; then
        echo none
    elif [ -w /sys/fs/cgroup/memory/tasks ] && [ -w /sys/fs/cgroup/freezer/tasks ]; then
        echo v1
    elif grep -qsw memory /sys/fs/cgroup/cgroup.controllers; then
        echo v2
    else
        echo none
    fi
}

containment() {
    if [ "$1" = none ]; then
        echo ProctrackType=proctrack/linuxproc
        echo TaskPlugin=task/none
        echo JobAcctGatherType=jobacct_gather/linux
        echo JobAcctGatherParams=OverMemoryKill
    else
        echo ProctrackType=proctrack/cgroup
        echo TaskPlugin=task/cgroup
        echo JobAcctGatherType=jobacct_gather/cgroup
    fi
}

cgroup_conf() {
    echo "CgroupPlugin=cgroup/$1"
    echo ConstrainRAMSpace=yes
    if [ "$1" = v1 ]; then echo CgroupAutomount=no; else echo IgnoreSystemd=yes; fi
}

slurm_conf() {
    cat <<CONF
ClusterName=pcim
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=$ME
SlurmdUser=$ME
AuthType=auth/munge
AuthInfo=socket=$SOCKETS/munge
StateSaveLocation=$STATE/spool/slurmctld
SlurmdSpoolDir=$STATE/spool/%n
SlurmctldPidFile=$STATE/run/slurmctld.pid
SlurmdPidFile=$STATE/run/%n.pid
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/%n.log
$(containment "$(cgroups)")
JobAcctGatherFrequency=task=2
TaskProlog=$STATE/etc/prolog
MpiDefault=none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
PropagateResourceLimits=NONE

# Two cores of this host may stand for twelve.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu

# Quick, so that a test of a fault takes seconds.
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=20
BatchStartTimeout=10
MessageTimeout=10
KillWait=5
MinJobAge=300

PreemptType=preempt/partition_prio
PreemptMode=REQUEUE

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((PORT + 1))
AccountingStoragePass=$SOCKETS/munge
AccountingStorageTRES=gres/gpu

NodeName=cpu1 CPUs=4 RealMemory=8000 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT + 2))
NodeName=gpu1 CPUs=4 RealMemory=8000 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT + 3)) Gres=gpu:fake:2
NodeName=gpu2 CPUs=4 RealMemory=8000 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT + 4)) Gres=gpu:fake:2
PartitionName=DEFAULT MaxTime=1-0 DefMemPerCPU=500 PriorityTier=1
PartitionName=cpu Nodes=cpu1 Default=YES
PartitionName=gpu Nodes=gpu[1-2] PreemptMode=REQUEUE
PartitionName=gpu_cancel Nodes=gpu[1-2] PreemptMode=CANCEL
PartitionName=gpu_high Nodes=gpu[1-2] PriorityTier=10 PreemptMode=OFF
CONF
}

slurmdbd_conf() {
    cat <<CONF
AuthType=auth/munge
AuthInfo=socket=$SOCKETS/munge
DbdHost=localhost
DbdPort=$((PORT + 1))
SlurmUser=$ME
LogFile=$STATE/log/slurmdbd.log
PidFile=$STATE/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageUser=$ME
CONF
}

# SLURM asks that a GPU is a character device. A link to one will do, so that nothing is made in /dev and no root is needed.
gres_conf() {
    echo "NodeName=gpu[1-2] Name=gpu Type=fake File=$STATE/gpus/gpu[0-1]"
}

write_configuration() {
    local kind new=$STATE/etc.new
    kind=$(cgroups)
    mkdir -p "$STATE"/{run,log,gpus,sockets,spool/slurmctld} "${NODES[@]/#/$STATE/spool/}"
    rm -rf "$new"
    mkdir "$new"
    slurm_conf >"$new/slurm.conf"
    gres_conf >"$new/gres.conf"
    # What a test sets for the jobs of one node, a wrong clock for instance.
    printf '#!/bin/sh\ncat "%s/jobs.$SLURMD_NODENAME" 2>/dev/null\nexit 0\n' "$STATE" >"$new/prolog"
    chmod 755 "$new/prolog"
    if [ "$kind" != none ]; then cgroup_conf "$kind" >"$new/cgroup.conf"; fi
    (umask 077 && slurmdbd_conf >"$new/slurmdbd.conf")
    ln -sfn /dev/null "$STATE/gpus/gpu0"
    ln -sfn /dev/zero "$STATE/gpus/gpu1"
    if [ ! -s "$STATE/munge.key" ]; then
        (umask 077 && head -c 128 /dev/urandom >"$STATE/munge.key")
    fi
    if diff -rq "$new" "$STATE/etc" >/dev/null 2>&1; then
        rm -rf "$new"
    else # daemons of another configuration, of an older version of this file for instance
        stop
        rm -rf "${STATE:?}/etc"
        mv "$new" "$STATE/etc"
    fi
}

# ---- daemons ----------------------------------------------------------------------------------------------------------------

# Every daemon carries this folder's name in its environment: a pid file may be stale and its number another process's by now.
launch() {
    PCIM_CLUSTER_DAEMON=$STATE "$@" </dev/null >>"$STATE/log/launch.log" 2>&1
}

marked() {
    grep -qszxF "PCIM_CLUSTER_DAEMON=$STATE" "/proc/$1/environ"
}

# The pid of a daemon, if it runs.
pid() {
    local pid
    { read -r pid <"$STATE/run/$1.pid"; } 2>/dev/null && marked "$pid" && echo "$pid"
}

up() {
    if ! pid "$1" >/dev/null; then
        case $1 in
        munged | mariadbd | slurmdbd | slurmctld) "start_$1" ;;
        *) launch slurmd -N "$1" ;;
        esac || fail "$1 does not start; see $STATE/log"
    fi
    case $1 in
    mariadbd) eventually 60 mariadb-admin --no-defaults --socket="$SOCKETS/mariadb" ping ;;
    slurmdbd) eventually 60 timeout 5 sacctmgr -n list cluster ;;
    slurmctld) eventually 30 timeout 5 scontrol ping ;;
    *) eventually 10 pid "$1" ;;
    esac || fail "$1 does not answer; see $STATE/log"
}

# down DAEMON [SIGNAL]
down() {
    local pid
    pid=$(pid "$1") || return 0
    kill -"${2:-TERM}" "$pid" 2>/dev/null || true
    eventually 10 gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
}

gone() {
    ! marked "$1"
}

start_munged() {
    launch munged --force --key-file="$STATE/munge.key" --socket="$SOCKETS/munge" --pid-file="$STATE/run/munged.pid" \
        --seed-file="$STATE/munge.seed" --log-file="$STATE/log/munged.log"
}

# No network: it is reached by its socket, and knows its one user by the kernel's word.
start_mariadbd() {
    if [ ! -d "$STATE/mariadb" ]; then
        rm -rf "$STATE/mariadb.new"
        launch mariadb-install-db --no-defaults --user="$ME" --datadir="$STATE/mariadb.new" --skip-test-db \
            --auth-root-authentication-method=socket --auth-root-socket-user="$ME"
        mv "$STATE/mariadb.new" "$STATE/mariadb"
    fi
    launch setsid --fork mariadbd --no-defaults --user="$ME" --datadir="$STATE/mariadb" --socket="$SOCKETS/mariadb" \
        --pid-file="$STATE/run/mariadbd.pid" --skip-networking --innodb-buffer-pool-size=64M \
        --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0
}

start_slurmdbd() {
    MYSQL_UNIX_PORT=$SOCKETS/mariadb launch slurmdbd
}

start_slurmctld() {
    launch slurmctld -i
}

# ---- the whole --------------------------------------------------------------------------------------------------------------

# With cgroups, the groups of a node bear its name alone: two clusters with our nodes on one host would end each other's jobs.
alone() {
    local pid
    [ "$(cgroups)" != none ] || return 0
    for pid in $(pgrep -f "^slurmd -N ($(IFS='|' && echo "${NODES[*]}"))\$"); do
        marked "$pid" || fail "another cluster of these nodes runs on this host (slurmd is process $pid): end that one first"
    done
}

# "Nothing new added" is a failure to sacctmgr.
add_account() {
    [ ! -e "$STATE/accounts" ] || return 0
    sacctmgr -i add cluster pcim >>"$STATE/log/launch.log" || true
    sacctmgr -i add account screening >>"$STATE/log/launch.log" || true
    sacctmgr -i add user "$ME" account=screening >>"$STATE/log/launch.log" || true
    sacctmgr -n -P list associations cluster=pcim account=screening user="$ME" format=user | grep -qxF "$ME" ||
        fail "accounting does not take the account of the tests; see $STATE/log"
    touch "$STATE/accounts"
}

# Whether every node works, after sending to work those that do not: a drain outlives a restart.
at_work() {
    local node state found=0
    while read -r node state; do
        case $state in
        drain* | down*) timeout 5 scontrol update "nodename=$node" state=resume || true ;;
        idle | planned | mixed | allocated | completing) found=$((found + 1)) ;;
        esac
    done < <(timeout 5 sinfo -h -N -p cpu,gpu -o '%N %T')
    [ "$found" -eq ${#NODES[@]} ]
}

start() {
    local daemon
    alone
    write_configuration
    for daemon in "${DAEMONS[@]}"; do
        up "$daemon"
        if [ "$daemon" = slurmdbd ]; then add_account; fi
    done
    eventually 30 at_work || fail "nodes do not come to work: $(timeout 5 sinfo -h -N -o '%N %T %E'); see $STATE/log"
    echo "export SLURM_CONF=$SLURM_CONF"
}

status() {
    local daemon missing=()
    for daemon in "${DAEMONS[@]}"; do
        pid "$daemon" >/dev/null || missing+=("$daemon")
    done
    [ ${#missing[@]} -eq 0 ] || fail "not running: ${missing[*]}"
}

# What is left when the daemons have ended: daemons without pid file, steps (they stand in the log folder), and jobs' processes.
leftovers() {
    local link
    grep -lszxF "PCIM_CLUSTER_DAEMON=$STATE" /proc/[0-9]*/environ | cut -d / -f 3
    grep -lszxF "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ | xargs -r grep -lszE '^SLURM_JOB_ID=' | cut -d / -f 3
    for link in $(pgrep -x slurmstepd | sed 's,.*,/proc/&/cwd,'); do
        [ "$(readlink "$link")" != "$STATE/log" ] || echo "$link" | cut -d / -f 3
    done
}

no_jobs() {
    [ -z "$(timeout 5 squeue -h)" ]
}

no_leftovers() {
    local left
    left=$(leftovers)
    # shellcheck disable=SC2086 # several pids
    [ -z "$left" ] || { kill -KILL $left && false; }
}

stop() {
    local daemon node
    if pid slurmctld >/dev/null; then
        timeout 5 scancel --user="$ME" || true
        eventually 8 no_jobs || true
    fi
    for daemon in slurmctld "${NODES[@]}" slurmdbd mariadbd munged; do
        down "$daemon"
    done
    eventually 5 no_leftovers || fail "these processes do not end: $(leftovers | paste -sd ' ')"
    (alone 2>/dev/null) || return 0 # an empty group of another cluster's is in use too
    for node in "${NODES[@]}"; do
        find /sys/fs/cgroup -depth -type d \( -path "*/slurm_$node*" -o -path "*/${node}_slurmstepd.scope*" \) \
            -exec rmdir {} + 2>/dev/null || true
    done
}

# Only what is ours goes: somebody may have named a folder that holds more.
purge() {
    stop
    (cd "$STATE" 2>/dev/null && rm -rf etc etc.new jobs.* run log gpus sockets spool mariadb mariadb.new munge.key munge.seed accounts tests.lock)
    rmdir "$STATE" 2>/dev/null || true
}

case ${1:-} in
start | status | stop | purge) "$1" ;;
up | down | kill)
    [[ " ${DAEMONS[*]} " == *" ${2:-} "* ]] || fail "no daemon '${2:-}'; there are: ${DAEMONS[*]}"
    if [ "$1" = kill ]; then down "$2" KILL; else "$1" "$2"; fi
    ;;
*) fail "'${1:-}' is none of start, status, stop, purge, up, down, kill" ;;
esac

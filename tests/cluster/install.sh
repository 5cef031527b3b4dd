#!/bin/sh
# Installs what the private SLURM of the tests needs on Debian or Ubuntu, where it is missing. Starts and enables no daemon, and
# removes no package: a machine with MySQL is left as it is.
set -eu
PATH=$PATH:/usr/sbin:/sbin
packages="slurmctld slurmd slurm-client slurmdbd munge mariadb-server faketime"
policy=/usr/sbin/policy-rc.d
aside=$policy.before-pcim
mark="# by PCIM's tests/cluster/install.sh"

missing=
for command in slurmctld slurmd sbatch slurmdbd munged mariadbd mariadb-install-db faketime; do
    command -v "$command" >/dev/null || missing="$missing $command"
done
[ -n "$missing" ] || exit 0

refuse() {
    echo "the tests' SLURM cluster lacks$missing; $1. Have an administrator install: $packages" >&2
    exit 1
}
command -v apt-get >/dev/null || refuse "without apt-get this script cannot install them"
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || refuse "installing needs root, and there is no sudo"
    [ -t 0 ] || sudo -n true 2>/dev/null || refuse "installing needs root, and sudo asks for a password"
    exec sudo sh "$0"
fi

# Maintainer scripts ask policy-rc.d whether they may start a daemon. Ours says no, and carries a mark, so that even after
# kill -9 the next run knows which of the two is the machine's own.
put_policy_back() {
    if grep -qsF "$mark" "$policy"; then
        if [ -e "$aside" ]; then mv -f "$aside" "$policy"; else rm -f "$policy"; fi
    fi
    rm -f "$aside" "$policy.new"
}
put_policy_back
trap put_policy_back EXIT
trap 'exit 1' HUP INT TERM
[ ! -e "$policy" ] || cp -a "$policy" "$aside"
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy.new"
chmod 755 "$policy.new"
mv -f "$policy.new" "$policy"

units=
for package in slurmctld slurmd slurmdbd munge mariadb-server; do
    dpkg -s "$package" >/dev/null 2>&1 || units="$units ${package%-server}"
done
apt-get update -qq
# shellcheck disable=SC2086 # several words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends $packages >/dev/null ||
    refuse "apt-get could not install them without removing others (its message is above)"
if [ -d /run/systemd/system ]; then
    # shellcheck disable=SC2086
    systemctl disable --quiet $units
fi

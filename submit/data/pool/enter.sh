#!/bin/sh
# Runs as root of a new user, mount and PID namespace: makes ROOT the file system, then becomes COMMAND.
# Usage: enter.sh ROOT STATE CACHE COMMAND [ARG ...]
# pivot_root, never chroot: the kernel forbids a chrooted process to create user namespaces, and Apptainer needs one.
set -eu
root=$1 state=$2 cache=$3
shift 3

# Where root itself started the pool, the set-user-id bit of these programs would make them that root, who is an
# ordinary user in here.
mount() { setpriv --no-new-privs mount "$@"; }
umount() { setpriv --no-new-privs umount "$@"; }

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/run/lock" "$root/run/condor" "$root/run/host"
mount --bind "$state" "$root/pool"
mount --bind "$cache" "$root/pool/cache"
mount --bind "$cache/cvmfs" "$root/cvmfs"
# what lies at the OSDF's origin outlives the pool's state
mount --bind "$cache/osdf/${state##*/}" "$root/pool/osdf/origin"

# The user's folders appear at their own paths, so that a submit file means the same inside and outside.
for top in /*; do
    name=${top#/}
    case $name in
        bin | boot | cvmfs | dev | etc | lib* | lost+found | pool | proc | run | sbin | srv | sys | usr | var) continue ;;
    esac
    if [ -L "$top" ]; then
        rm -rf "${root:?}/$name" && ln -s "$(readlink "$top")" "$root/$name"
    elif [ -d "$top" ] && [ -x "$top" ]; then
        mkdir -p "$root/$name" && mount --rbind "$top" "$root/$name"
    fi
done

mount --bind "$state/etc/hosts" "$root/etc/hosts"
mount --bind "$state/etc/resolv.conf" "$root/etc/resolv.conf"
# The process id that nsenter needs is the one that the world outside sees: read here, before the old /proc goes.
read -r pid rest < /proc/self/stat
cd "$root"
pivot_root . run/host
umount -l /run/host
rmdir /run/host
mkdir -p /run/lock/condor /pool/log /pool/spool /pool/cred
chown condor:condor /run/condor /run/lock/condor /pool/log /pool/spool
# osgdl's list of sites: each startd has an execute folder of its own
for site in /pool/etc/gpus.d/*; do
    install -d -m 755 -o condor -g condor "/pool/execute/${site##*/}"
done
chmod 700 /pool/etc/passwords.d /pool/etc/tokens.d
chown root:root /pool/etc/passwords.d /pool/etc/tokens.d
echo "$pid" > /pool/init.pid
exec "$@"

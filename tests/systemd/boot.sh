# Boots a Debian root file system beside the system that runs here. Usage: unshare -m sh boot.sh ROOT FOLDER NAME
# ROOT is only read: what the machine writes goes to a tmpfs on FOLDER, an empty folder. NAME is that of its cgroup.
# Two stages: the cgroup has to be joined before the namespaces are made, so that the machine sees it as its "/".
set -e
root=$1 folder=$2 name=$3

if [ "$4" != inside ]; then
    umount -R /sys/fs/cgroup 2>/dev/null || :    # where it is the layout of version 1
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir "/sys/fs/cgroup/$name"
    echo $$ > "/sys/fs/cgroup/$name/cgroup.procs"
    exec unshare --mount --pid --uts --net --ipc --cgroup --fork --kill-child=SIGKILL \
        sh "$0" "$root" "$folder" "$name" inside
fi

mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/merged"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$folder/upper,workdir=$folder/work" "$folder/merged"
cd "$folder/merged"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys    # else the machine's sysctl settings would be those of the kernel of all
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for device in null zero full random urandom tty; do
    : > "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr

mkdir run/host
pivot_root . run/host
umount -l /run/host
rmdir /run/host
mount --make-rshared /    # else credentials are silently missing
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd

#!/bin/bash
# pid 1 of a node: its mounts, containerd, kubelet, kube-proxy. NODE is its name, FOLDER the cluster's folder, TOOLS where its programs are.
# xtask/src/cluster/node.rs starts it, waits for what it prints, and answers with a line when it may go on.
set -euo pipefail
# /proc is the machine's still, so this is our number there. Read by bash itself: a child would read its own.
read -r pid _ < /proc/self/stat
echo "process $pid"

# The mounts are private first, so that nothing reaches the machine, and shared at the end among our own descendants, for pods whose mounts
# propagate.
mount --make-rprivate /
mount -t proc proc /proc
hostname "$NODE"
ip link set lo up
umount -l /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
# The same hierarchies as the machine's, rooted at our own cgroup.
for controllers in $(awk -F: '$2 != "" && $2 !~ /=/ {print $2}' /proc/self/cgroup); do
  mkdir "/sys/fs/cgroup/$controllers"
  mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
done
mkdir /sys/fs/cgroup/{systemd,unified}
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
mount -t bpf bpf /sys/fs/bpf

# /run and /var are the node's own. The cluster's folder and the tools may be in what these hide.
here=/run/weir-cluster
mkdir -p "$FOLDER/$NODE"/var/{lib,log,tmp}
ln -sfn /run "$FOLDER/$NODE/var/run"
ln -sfn /run/lock "$FOLDER/$NODE/var/lock"
exec {folder}< "$FOLDER" {tools}< "$TOOLS"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p $here/{folder,tools} /run/{netns,lock}
mount --bind "/proc/$$/fd/$folder" $here/folder
mount --bind "/proc/$$/fd/$tools" $here/tools
exec {folder}<&- {tools}<&-
mount --bind "$here/folder/$NODE/var" /var
mount --bind /run/netns /run/netns
# kubelet insists on writing these sysctls, which are the whole machine's. It finds them as it wants them, in files.
mkdir /run/sysctl
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
               kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/run/sysctl/$(basename "${setting%=*}")
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done
mount --make-rshared /
sysctl -qw net.ipv4.ip_forward=1

echo network
read -r _

log=$here/folder/log/$NODE
configuration=$here/folder/$NODE
containerd --config "$configuration/containerd.toml" --log-level warn > "$log-containerd.log" 2>&1 < /dev/null &
containerd=$!
until ctr version > /dev/null 2>&1; do
  kill -0 "$containerd"
  sleep 0.1
done
echo containerd
read -r _

"$here/tools/kubelet" --kubeconfig "$here/folder/pki/$NODE.kubeconfig" --config "$configuration/kubelet.yaml" --node-ip "$ADDRESS" \
  --hostname-override "$NODE" --root-dir /var/lib/kubelet > "$log-kubelet.log" 2>&1 < /dev/null &
"$here/tools/kube-proxy" --config "$configuration/kube-proxy.yaml" --hostname-override "$NODE" > "$log-kube-proxy.log" 2>&1 < /dev/null &
echo ready
# Nobody reads on.
exec < /dev/null >&2
# bash reaps whatever is left to pid 1. Nothing in here ends by itself: the cluster goes by its cgroup.
while :; do wait -n || sleep 1; done

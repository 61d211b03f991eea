#!/bin/bash
# pid 1 of the control plane: the bridge that the nodes are on, etcd, kube-apiserver, kube-controller-manager, kube-scheduler.
# xtask/src/cluster/control_plane.rs starts it, gives it its environment, and waits for what it prints.
set -euo pipefail
# /proc is the machine's still, so this is our number there. Read by bash itself: a child would read its own.
read -r pid _ < /proc/self/stat
echo "process $pid"

mount --make-rprivate /
mount -t proc proc /proc
hostname control-plane
ip link set lo up
ip link add br0 type bridge
ip address add "$CONTROL_PLANE/24" dev br0
ip link set br0 up
sysctl -qw net.ipv4.ip_forward=1
echo network
exec < /dev/null

pki=$FOLDER/pki bin=$FOLDER/bin log=$FOLDER/log
"$bin/etcd" --data-dir "$FOLDER/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 > "$log/etcd.log" 2>&1 &
# Aggregator routing: webhooks are called at their pods' addresses, for there is no kube-proxy here that knows services'.
start_apiserver() {
  "$bin/kube-apiserver" \
    --etcd-servers=http://127.0.0.1:2379 --storage-media-type=application/vnd.kubernetes.protobuf \
    --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$CONTROL_PLANE" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --service-account-key-file="$pki/service-accounts.pub" --service-account-signing-key-file="$pki/service-accounts.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range="$SERVICES" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --enable-aggregator-routing=true --profiling=false >> "$log/kube-apiserver.log" 2>&1 &
  apiserver=$!
}
start_apiserver
until curl -fs --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" "https://$CONTROL_PLANE:6443/readyz" > /dev/null; do
  kill -0 "$apiserver"
  sleep 0.1
done
"$bin/kube-controller-manager" --kubeconfig="$pki/kube-controller-manager.kubeconfig" --use-service-account-credentials \
  --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" \
  --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
  --cluster-cidr="$PODS" --service-cluster-ip-range="$SERVICES" --leader-elect=false \
  --bind-address=127.0.0.1 > "$log/kube-controller-manager.log" 2>&1 &
"$bin/kube-scheduler" --kubeconfig="$pki/kube-scheduler.kubeconfig" --leader-elect=false \
  --bind-address=127.0.0.1 > "$log/kube-scheduler.log" 2>&1 &
echo ready
# Nobody reads on.
exec >&2
# bash reaps whatever is left to pid 1. Nothing in here ends by itself: the cluster goes by its cgroup. An API server that a test has killed is started again,
# as a kubelet does with a static pod.
while :; do
  wait -n -p ended || sleep 1
  if [ "${ended:-}" = "$apiserver" ]; then start_apiserver; fi
done

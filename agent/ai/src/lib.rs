//! What AI traffic means: dialects, usage, prices. Pure: no sockets, no clock, no Kubernetes.

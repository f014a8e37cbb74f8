//go:build !linux

package main

// Other systems lack the sockets by which replicas are probed; the compiler says
// so, and names nothing else.
const _ int = "crisp-status-local is for Linux only"

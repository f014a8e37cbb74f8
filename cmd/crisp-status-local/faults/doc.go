// Package faults breaks the network, the Status API, the targets, the resolver and
// the host of the real daemon, and holds it to its promise: every healthy replica
// is reported in time, nothing is reported wrong, nothing is lost, and memory,
// files and goroutines come back to where they were.
//
//	make test-faults
//
// Every case runs in namespaces of its own (network, processes, mounts), which the
// kernel removes with the process that made them, however that ends. It takes root;
// what a machine cannot do is skipped, and fails with CRISP_REQUIRE_TOOLS set.
package faults

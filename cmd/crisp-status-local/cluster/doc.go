// Package cluster tests several real daemons that watch for one page, with a real etcd
// of three members or keepalived. It breaks everything around them, and checks their
// promises together:
//
//	I1  a replica that any daemon sees alive is reported before the page turns red
//	I2  a daemon that is not on duty begins no dead report
//	I3  after the first report of a new holder, the old one sends only requests that were in flight
//	I4  after the last fault, one daemon is on duty, and it alone reports
//
//	make test-cluster
//
// The sandbox is the page, and a watcher asks etcd who is on duty. Every case runs in
// namespaces of its own, with one more network namespace for each host.
//
//	CRISP_CLUSTER_ROUNDS  how often each fault comes; 20 is a full run
//	CRISP_CLUSTER_TIME    how long faults come at random; 30m is a full run
//	CRISP_CLUSTER_SEED    the seed of random faults, to repeat them
//	CRISP_CLUSTER_STRICT  checks the promised times as well, on an idle machine
package cluster

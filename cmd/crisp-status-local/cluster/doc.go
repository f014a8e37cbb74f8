// Package cluster breaks what is around several real daemons that watch for one
// page, beside a real etcd of three members or keepalived, and holds them to their
// promises together:
//
//	I1  no replica that some daemon sees alive has no report for so long that the page turns red
//	I2  nobody begins a dead report who is not on duty
//	I3  after the first report of the next one on duty come no more of the one before than were in flight
//	I4  after the last fault one daemon is on duty, and it alone reports
//
//	make test-cluster
//
// The sandbox is the page, and asks etcd by itself who is on duty. Every case runs
// in namespaces of its own, with one more of the network for each host.
//
//	CRISP_CLUSTER_ROUNDS  how often each fault comes; 20 is a full run
//	CRISP_CLUSTER_TIME    how long faults come at random; 30m is a full run
//	CRISP_CLUSTER_SEED    the seed of those, to see them again
//	CRISP_CLUSTER_STRICT  holds to the promised times as well, which takes a machine that is idle
package cluster

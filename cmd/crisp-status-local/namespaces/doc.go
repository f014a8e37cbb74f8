// Package namespaces runs tests of the daemon's binary in namespaces of their own
// (network, processes, mounts), which the kernel removes with the process that made
// them, however that ends.
//
// A test calls [Inside] first. The program of the tests then starts itself again
// for that one test, in new namespaces. It takes root; what a machine cannot do is
// skipped, and fails with CRISP_REQUIRE_TOOLS set.
package namespaces

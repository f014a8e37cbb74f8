//go:build !faults

package duty

// bootClock is the clock on which terms are counted.
func bootClock() clock { return sinceBoot }

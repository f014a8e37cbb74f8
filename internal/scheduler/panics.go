package scheduler

import "github.com/crisp-im/crisp-status-local/v2/internal/probe"

// maxPanics bounds the stacks in the log: more of them would be of one fault.
const maxPanics = 10

// sayPanic writes the stack of a panic into the log, once for each reason. A nil one is none.
func (s *Scheduler) sayPanic(e *probe.Error) {
	if e == nil || s.panics[e.Reason] || len(s.panics) >= maxPanics {
		return
	}
	if s.panics == nil {
		s.panics = make(map[string]bool)
	}
	s.panics[e.Reason] = true
	s.log.WithField("reason", e.Reason).WithField("stack", e.Stack).Error("internal error: the daemon lives on, please report it with the stack")
}

package duty

import (
	"context"
	"time"
)

// Names of engines, as [State] has them.
const (
	EngineNone    = "none"
	EngineAlive   = "alive"
	EngineAddress = "address"
	EngineEtcd    = "etcd"
)

// fixed is a duty that never changes.
type fixed struct{ state State }

// Always returns the duty of a daemon that is alone: its scope is Everything, and
// never changes. Its Run only waits, and need not be called.
func Always() Duty {
	return &fixed{State{Engine: EngineNone, Scope: Everything, Since: time.Now(), Why: "this daemon is alone"}}
}

// AliveOnly returns the duty of one of several daemons without an engine: its scope
// is Alive, and never changes. The page itself shows a replica dead that no daemon
// has reported alive. Its Run only waits, and need not be called.
func AliveOnly(member string) Duty {
	return &fixed{State{Engine: EngineAlive, Scope: Alive, Since: time.Now(), Member: member, Why: "the page itself shows dead what no daemon sees alive"}}
}

func (f *fixed) Run(ctx context.Context)  { <-ctx.Done() }
func (f *fixed) Scope() Scope             { return f.state.Scope }
func (f *fixed) Changed() <-chan struct{} { return nil }
func (f *fixed) State() State             { return f.state }

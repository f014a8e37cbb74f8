package scheduler

import (
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

// Places is how many probes of a map may run at a time, and how many must.
type Places struct {
	Needed  int    // to keep the promise if all replicas but one stop answering
	Allowed int    // by the settings
	By      string // what allows no more; empty where nothing limits
}

// PlacesOf returns what m needs when it is taken up whole, and what s allows.
func PlacesOf(m *statusapi.Map, s Settings) Places {
	turns := schedule{interval: s.Interval}
	turns.add(time.Now(), make([]*replica, len(m.Checks)))
	alone := &Scheduler{settings: s, currentMap: m}
	allowed, by := s.places(len(m.Checks))
	return Places{turns.peak(alone.longestProbe()), allowed, by}
}

// probeMemory is the memory of a probe under way, in bytes: over TCP some 6 to 12 KiB,
// with TLS several times as much. A quarter of the process's memory is for probes.
const probeMemory = 16 << 10

// places returns how many of the probes of all replicas may run at a time, and
// what allows no more.
func (s Settings) places(all int) (allowed int, by string) {
	allowed = all
	if files := spareFiles(s.Files); s.Files > 0 && files < allowed {
		allowed, by = files, "the limit of open files (raise LimitNOFILE= or ulimit -n)"
	}
	if probes := int(s.Memory / probeMemory / 4); s.Memory > 0 && probes < allowed {
		allowed, by = max(1, probes), "the memory limit (raise MemoryMax=, the container's, or GOMEMLIMIT)"
	}
	if s.Workers > 0 && s.Workers < allowed {
		allowed, by = s.Workers, "probe.workers"
	}
	return allowed, by
}

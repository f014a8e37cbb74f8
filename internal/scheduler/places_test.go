package scheduler

import (
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

func TestPlacesOfAMap(t *testing.T) {
	m := &statusapi.Map{Checks: make([]probe.Check, 10000)}
	s := Settings{Interval: 2 * time.Minute, Files: 1 << 20}
	all := PlacesOf(m, s)
	if all.Allowed != 10000 || all.By != "" || all.Needed < groupSize || all.Needed > 10000 {
		t.Errorf("got %+v, want all allowed and needed at most", all)
	}
	s.Files = 1000
	if got := PlacesOf(m, s); got.Needed != all.Needed || got.Allowed != spareFiles(1000) || got.By == "" {
		t.Errorf("got %+v of 1000 open files, want fewer allowed, and by what", got)
	}
	s.Memory = 32 << 20
	if got := PlacesOf(m, s); got.Allowed != 512 || got.By == "" {
		t.Errorf("got %+v of 32 MiB, want 512 probes of 16 KiB in a quarter of it", got)
	}
	s.Workers = 10
	if got := PlacesOf(m, s); got.Allowed != 10 || got.By != "probe.workers" {
		t.Errorf("got %+v of 10 workers, want them to be what limits", got)
	}
	if got := PlacesOf(&statusapi.Map{}, s); got.Needed != 0 {
		t.Errorf("got %+v of an empty map, want none needed", got)
	}
}

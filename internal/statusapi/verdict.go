package statusapi

import "github.com/crisp-im/crisp-status-local/v2/internal/probe"

// Verdict is the health of a replica as it is reported to the status page.
type Verdict struct {
	ID     probe.ID
	Health probe.Health
}

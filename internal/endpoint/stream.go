package endpoint

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// pieceSize is how much of an answer is written at a time: the state of 10,000
// replicas has megabytes, and it is never held as a whole.
const pieceSize = 32 << 10

// filter is which replicas are wanted. The zero filter is all of them.
type filter struct {
	parts   []string  // any of which the shown URL holds
	healths []string  // any of which it has
	after   time.Time // since when its last result has come
}

func newFilter(q url.Values) filter {
	f := filter{parts: q["replica"], healths: q["health"]}
	if seconds, err := strconv.ParseInt(q.Get("after"), 10, 64); err == nil {
		f.after = time.Unix(seconds, 0)
	}
	return f
}

func (f filter) wants(r *status.Replica) bool {
	holds := func(part string) bool { return strings.Contains(r.Replica, part) }
	return (len(f.parts) == 0 || slices.ContainsFunc(f.parts, holds)) &&
		(len(f.healths) == 0 || slices.Contains(f.healths, r.Health)) &&
		!r.ProbedAt.Before(f.after)
}

// replicas writes the state as JSON, replica by replica.
func (h handler) replicas(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	state, err := h.source.Replicas(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	state.Head.Replicas = []status.Replica{}
	head, err := json.Marshal(state.Head)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return
	}
	out := bufio.NewWriterSize(w, pieceSize)
	defer out.Flush()
	out.Write(bytes.TrimSuffix(head, []byte("]}")))
	wanted, first := newFilter(r.URL.Query()), true
	var b []byte
	for i := range state.Records {
		shown := state.Records[i].Show()
		if !wanted.wants(&shown) {
			continue
		}
		shown.Reported = state.Reported(state.Records[i].Check.ID())
		if b = b[:0]; !first {
			b = append(b, ',')
		}
		first, b = false, shown.AppendJSON(b)
		if _, err := out.Write(b); err != nil {
			return // nobody reads on
		}
	}
	out.WriteString("]}\n")
}

package report

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// entry is the newest verdict of one replica.
type entry struct {
	id       probe.ID
	result   probe.Result
	newer    bool      // result came while an older one was under way
	failures int       // in a row, of this replica
	tried    time.Time // when the last of them was; zero if there is none
	held     time.Time // until when the API wants to be left alone with it
	due      time.Time
	order    int
	index    int // in the queue; -1 while it is not in it
}

// logTo returns log with the fields that say which replica it is.
func (e *entry) logTo(log logrus.FieldLogger) logrus.FieldLogger {
	c := e.result.Check
	return log.WithFields(logrus.Fields{"service": c.ServiceID, "node": c.NodeID, "replica": c.Target, "health": e.result.Health})
}

// queue is a heap of entries, the one that is due first on top.
type queue []*entry

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].order < q[j].order
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.index = -1
	return e
}

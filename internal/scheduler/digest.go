package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/logging"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// What may happen to a replica besides turning dead or sick.
const (
	healthyAgain  = "healthy again"
	keepsChanging = "keeps changing"
)

// maxDigestReasons bounds the reasons of a digest: one cause seldom has more.
const maxDigestReasons = 5

// digest sums up changes of health that have no line of their own.
type digest struct {
	replicas       int
	first          string        // of the replicas
	least, longest time.Duration // that the old health lasted
	reasons        map[string]*reasonCount
	others         int // changes with any other reason
}

// reasonCount is the changes whose reasons have one shape.
type reasonCount struct {
	reason string // the first of them
	count  int
}

// add counts the change of r.
func (d *digest) add(r *replica, reason string, after time.Duration) {
	d.replicas++
	if d.replicas == 1 {
		d.first = r.check.Target.String()
	}
	if after > 0 {
		if d.least == 0 || after < d.least {
			d.least = after
		}
		d.longest = max(d.longest, after)
	}
	if reason == "" {
		return
	}
	shape := logging.Shape(reason)
	if c := d.reasons[shape]; c != nil {
		c.count++
		return
	}
	if len(d.reasons) >= maxDigestReasons {
		d.others++
		return
	}
	d.reasons[shape] = &reasonCount{reason, 1}
}

// message returns what the line of d says.
func (d *digest) message(happened string) string {
	replicas, are, keep := "replicas", "are", "keep"
	if d.replicas == 1 {
		replicas, are, keep = "replica", "is", "keeps"
	}
	switch happened {
	case healthyAgain:
		return fmt.Sprintf("%d more %s %s healthy again in this cycle", d.replicas, replicas, are)
	case keepsChanging:
		return fmt.Sprintf("%d more %s %s changing health", d.replicas, replicas, keep)
	}
	return fmt.Sprintf("%d more %s %s in this cycle", d.replicas, replicas, happened)
}

// fields returns the fields of the line of d.
func (d *digest) fields() logrus.Fields {
	fields := logrus.Fields{"replicas": d.replicas, "first": d.first}
	if d.longest > 0 {
		fields["after_least"], fields["after_most"] = age(d.least), age(d.longest)
	}
	if text := d.summary(); text != "" {
		fields["reasons"] = text
	}
	return fields
}

// summary returns the reasons with their counts, the most frequent one first.
func (d *digest) summary() string {
	counts := slices.SortedFunc(maps.Values(d.reasons), func(a, b *reasonCount) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.reason, b.reason))
	})
	var parts []string
	for _, c := range counts {
		parts = append(parts, fmt.Sprintf("%s (%d)", c.reason, c.count))
	}
	if d.others > 0 {
		parts = append(parts, fmt.Sprintf("other reasons (%d)", d.others))
	}
	return strings.Join(parts, ", ")
}

// kindOf returns the field with the kind of a failure, if result has one.
func kindOf(result probe.Result) logrus.Fields {
	if failure, ok := errors.AsType[*probe.Error](result.Err); ok {
		return logrus.Fields{"kind": failure.Kind}
	}
	return nil
}

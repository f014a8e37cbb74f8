//go:build linux

package main

import (
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
)

func TestPagesAreToldApartWithoutTheToken(t *testing.T) {
	page := func(endpoint, token string) string {
		return pageHash(config.Config{Endpoint: endpoint, Token: config.NewSecret(token)})
	}
	one := page("https://report.crisp.watch/v1", "t0k3n")
	for what, other := range map[string]string{
		"another token":    page("https://report.crisp.watch/v1", "t0k3m"),
		"another endpoint": page("https://report.crisp.watch/v2", "t0k3n"),
	} {
		if one == other {
			t.Errorf("%s: got the same hash %s, want another one", what, one)
		}
	}
	if one != page("https://report.crisp.watch/v1", "t0k3n") || len(one) != 16 {
		t.Errorf("got %s, want 64 bits that are the same each time", one)
	}
}

// TestDutyOfTheConfiguration: an interval is none of its business, all else is.
func TestDutyOfTheConfiguration(t *testing.T) {
	c := config.Config{Endpoint: "http://h", Token: config.NewSecret("t"), Interval: time.Minute, Cluster: config.Cluster{Engine: config.Alive, Member: "a"}}
	other := c
	other.Interval = time.Hour
	if !dutyOf(c).equal(dutyOf(other)) {
		t.Error("got another duty by another interval, want the same")
	}
	other.Cluster.Member = "b"
	if dutyOf(c).equal(dutyOf(other)) {
		t.Error("got the same duty of another member, want another one")
	}
	other = c
	other.Token = config.NewSecret("u")
	if dutyOf(c).equal(dutyOf(other)) {
		t.Error("got the same duty of another page, want another one")
	}
}

package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/crisp-im/crisp-status-local/v2/internal/duty"
	"github.com/crisp-im/crisp-status-local/v2/internal/report"
	"github.com/crisp-im/crisp-status-local/v2/internal/scheduler"
	"github.com/crisp-im/crisp-status-local/v2/internal/service"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// clustered is the state of a daemon that stands by, and whose engine is gone.
func clustered() *status.Snapshot {
	s := state()
	s.API = status.API{State: status.APIAnswers, MapAt: s.Now.Add(-time.Minute), MapOutcome: status.MapUnchanged}
	s.Cluster = clusterOf(duty.State{
		Engine: "etcd", Scope: duty.Nothing, Since: s.Now.Add(-15 * time.Minute), Why: "host-b is on duty", Holder: "host-b", Member: "host-a", Group: "office", Takeovers: 1,
		Members: []duty.Member{
			{Name: "host-a", Version: version, Healthy: 1, Sick: 1, Dead: 1, API: true},
			{Name: "host-b", Version: "2.9.0\x1b[2J", Healthy: 2, Sick: 1},
		},
	})
	s.Cluster.Kept = 3
	return s
}

func TestStatusSaysWhoReports(t *testing.T) {
	lacks := func(s *status.Snapshot) {
		s.Cluster.Trouble, s.Cluster.TroubleSince = "connection refused", s.Now.Add(-time.Minute)
	}
	for _, tt := range []struct {
		name         string
		change       func(*status.Snapshot)
		args         []string
		want, absent []string
	}{
		{"a standby", func(*status.Snapshot) {}, nil, []string{
			"duty        standby since 12:02:01: host-b is on duty; 3 verdicts are kept, to be sent on taking over; taken over 1 time since the start\n",
			"cluster     engine etcd, group office, member host-a\n",
			"member      host-a (this daemon): 1 healthy, 1 sick, 1 dead; the Status API answers it\n",
			"member      host-b, on duty: 2 healthy, 1 sick, 0 dead up to 10 s ago; the Status API does not answer it; version 2.9.0�[2J\n",
			"Status API  answers; map of ", "promise     kept by another daemon; next cycle",
		}, []string{"verdicts wait", "reports were late", "worst gap", "12:19:28", "\x1b"}},
		{"a replica of a standby", func(*status.Snapshot) {}, []string{"10.0.0.5"}, []string{"another daemon reports it"}, []string{"must take the next"}},
		{"a standby that knows of no holder", func(s *status.Snapshot) {
			s.Cluster.Holder, s.Cluster.Why = "", "etcd has not said yet who is on duty"
		}, nil, []string{"promise     not kept by this daemon; next cycle"}, []string{"another daemon"}},
		{"a replica of one", func(s *status.Snapshot) { s.Cluster.Holder = "" }, []string{"10.0.0.5"}, []string{"this daemon does not report it"}, []string{"another daemon"}},
		{"the holder", func(s *status.Snapshot) {
			s.Cluster.Scope, s.Cluster.Why = status.ReportsEverything, "this daemon holds the lease"
		}, nil,
			[]string{"duty        on duty since 12:02:01: this daemon holds the lease; taken over", "0 verdicts wait", "worst gap", "12:19:28"}, []string{"standby"}},
		{"one without its engine", func(s *status.Snapshot) {
			lacks(s)
			s.Cluster.Scope, s.Cluster.Why, s.Cluster.Members = status.ReportsAlive, "the engine has not answered for 15s", nil
		}, nil, []string{
			"duty        reports only healthy and sick since 12:02:01: the engine has not answered for 15s; 3 deaths are left to the page;",
			"cluster     engine etcd, group office, member host-a; cannot be asked since 12:16:01: connection refused\n",
		}, []string{"member      "}},
		{"a member of a group that cannot be asked", func(s *status.Snapshot) {
			lacks(s)
			s.Cluster.Scope = status.ReportsAlive
		}, nil, []string{"member      host-a (this daemon): 1 healthy, 1 sick, 1 dead; the Status API answers it; as of 12:16:01\n"}, nil},
		{"one that its engine shuts out", func(s *status.Snapshot) {
			lacks(s)
			s.Cluster.Scope, s.Cluster.TroubleKind, s.Cluster.Trouble = status.ReportsAlive, status.Excluded, "give the daemons of this page a group of their own"
			s.Cluster.Warnings = []string{"another daemon is called \"host-a\", too\x1b[2J"}
		}, nil, []string{
			"cluster     engine etcd, group office, member host-a; answers, but this daemon cannot take part since 12:16:01: give the daemons of this page a group of their own\n",
			"warning     another daemon is called \"host-a\", too�[2J\n",
		}, []string{"cannot be asked"}},
		{"a dead replica without an engine", func(s *status.Snapshot) {
			lacks(s)
			s.Cluster.Scope = status.ReportsAlive
		}, []string{"10.0.0.5"}, []string{"its death is left to the page"}, []string{"must take the next"}},
		{"one whose address is on two hosts", func(s *status.Snapshot) {
			s.Cluster = clusterOf(duty.State{
				Engine: "address", Scope: duty.Alive, Since: s.Now.Add(-15 * time.Minute), Member: "host-a",
				Why: "another host has 10.0.0.100, too (MAC address 02:00:00:00:00:0b)", Conflict: true,
			})
		}, nil, []string{
			"duty        reports only healthy and sick since 12:02:01: another host has 10.0.0.100, too (MAC address 02:00:00:00:00:0b)\n",
			"cluster     engine address, member host-a; the address is on two hosts: take it from one of them, or let VRRP pass between them",
		}, []string{"cannot be asked"}},
		{"one that cannot know whether its address is on two hosts", func(s *status.Snapshot) {
			s.Cluster = clusterOf(duty.State{Engine: "address", Scope: duty.Everything, Why: "this host has 10.0.0.100", Unchecked: "lo is no Ethernet"})
		}, nil, []string{"duty        on duty", "cluster     engine address; not checked whether another host has the address, too: lo is no Ethernet\n"}, nil},
		{"one by itself", func(s *status.Snapshot) { s.Cluster = nil }, nil, []string{"promise     "}, []string{"duty", "cluster", "member"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, shown := write(t, ""), clustered()
			tt.change(shown)
			asked(t, path, shown)
			stdout, _, exit := started(t.Context(), t, append([]string{"status", "-c", path}, tt.args...)...)
			if exit != 0 {
				t.Errorf("got exit status %d, want 0", exit)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("got\n%swant %q in it", stdout, want)
				}
			}
			for _, absent := range tt.absent {
				if strings.Contains(stdout, absent) {
					t.Errorf("got\n%swant no %q in it", stdout, absent)
				}
			}
		})
	}
}

func TestNoLineAboutAClusterIsWiderThanTheTerminal(t *testing.T) {
	snapshot := clustered()
	snapshot.Cluster.Members = append(snapshot.Cluster.Members, status.ClusterMember{Name: strings.Repeat("a-long-name.", 9), Version: "1"})
	snapshot.Cluster.Trouble = strings.Repeat("https://10.0.0.1:2379: connection refused, ", 3)
	for _, width := range []int{40, 80, 110, 200} {
		for _, colored := range []bool{false, true} {
			v := statusView{screen: screen{width: width, height: 24, colored: colored}, snapshot: snapshot, peer: service.Peer{PID: 1, UID: 0}}
			for line := range strings.Lines(v.head()) {
				if n := text.StringWidthWithoutEscSequences(strings.TrimRight(line, "\n")); n > width {
					t.Errorf("got %d columns, want %d at most: %s", n, width, line)
				}
			}
		}
	}
}

func TestADaemonByItselfHasNoCluster(t *testing.T) {
	for _, engine := range []string{"", "none"} {
		if got := clusterOf(duty.State{Engine: engine, Scope: duty.Everything}); got != nil {
			t.Errorf("got %+v with the engine %q, want nil", got, engine)
		}
	}
	for plight, want := range map[duty.Plight]status.Plight{duty.Unreachable: status.Unreachable, duty.Excluded: status.Excluded, duty.Undecided: status.Undecided} {
		if got := clusterOf(duty.State{Engine: "etcd", Trouble: "x", TroubleAt: time.Now(), Plight: plight}); got.TroubleKind != want {
			t.Errorf("got the kind %q of a trouble that is %q, want %q", got.TroubleKind, plight, want)
		}
	}
	if got := clusterOf(duty.State{Engine: "alive", Scope: duty.Alive, TroubleAt: time.Now()}); got == nil || got.Members == nil || !got.TroubleSince.IsZero() || got.TroubleKind != "" {
		t.Errorf("got %+v with the engine alive, want one with an empty list of members and no trouble", got)
	}
}

func TestAStandbyIsReadyThoughItSendsNothing(t *testing.T) {
	shot := scheduler.Snapshot{Interval: time.Minute}
	shot.Map.Held, shot.Map.At = true, time.Now()
	down := report.Snapshot{API: status.APIDown, Since: time.Now().Add(-time.Hour), LastErr: "status 503"}
	standby := &status.Cluster{Scope: status.ReportsNothing}
	if err := notReady(shot, down, nil); err == nil {
		t.Error("a daemon whose reports are not taken for an hour is ready, want that it says why not")
	}
	if err := notReady(shot, down, standby); err != nil {
		t.Errorf("got %v of a standby whose reports were not taken when it last sent any, want it ready", err)
	}
	if api := apiOf("https://api.example", shot, down, standby); api.State != status.APIAnswers || api.Error != "" || !api.Since.IsZero() {
		t.Errorf("got the API %+v of a standby that has its map, want that it answers", api)
	}
	shot.Map.Err, shot.Map.FailingSince = errors.New("status 502"), time.Now().Add(-time.Hour)
	if err := notReady(shot, down, standby); err == nil || !strings.Contains(err.Error(), "status 502") {
		t.Errorf("got %v of a standby that gets no map, want the reason", err)
	}
	if api := apiOf("https://api.example", shot, down, standby); api.State != status.APIDown || api.Error != "status 502" {
		t.Errorf("got the API %+v of a standby that gets no map, want it down", api)
	}
}

// TestAMemberIsNeverBehindItself: its own record lags, and its own line does not.
func TestAMemberIsNeverBehindItself(t *testing.T) {
	counts := status.Counts{Healthy: 7, Sick: 8, Dead: 9}
	for _, trouble := range []string{"", "connection refused"} {
		c := clustered().Cluster
		own, other := c.Members[0], c.Members[1]
		if c.Trouble = trouble; trouble == "" {
			own.Healthy, own.Sick, own.Dead = 7, 8, 9
		}
		if countOwn(c, counts); c.Members[0] != own || c.Members[1] != other {
			t.Errorf("trouble %q: got %+v, want %+v and %+v", trouble, c.Members, own, other)
		}
	}
	countOwn(nil, counts)
}

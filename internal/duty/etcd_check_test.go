package duty

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestACheckOfAGroup(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", three(f), nil).start()
		defer a.stop()
		wait(2 * time.Second)
		b := newDaemon(t, "host-b", three(f), nil).start()
		defer b.stop()
		wait(6 * time.Second)
		before, writes := f.under("/"), len(f.leases)
		found, err := newDaemon(t, "host-b", three(f), nil).check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names := make([]string, len(found.Members))
		for i, m := range found.Members {
			names[i] = m.Name
		}
		if found.Answering != 3 || len(found.Silent) > 0 || found.Holder != "host-a" || !slices.Equal(names, []string{"host-a", "host-b"}) ||
			found.OtherPage != "" || len(found.Namesakes) > 0 || found.Stray != "" {
			t.Errorf("got %+v, want three endpoints and two members, of which host-a is on duty", found)
		}
		if after := f.under("/"); !slices.Equal(before, after) || len(f.leases) != writes {
			t.Errorf("the keys are %q after the check with %d leases, want %q and %d, as before", after, len(f.leases), before, writes)
		}
		if a.Scope() != Everything || b.Scope() != Nothing || a.State().Takeovers != 1 {
			t.Errorf("the scopes are %v and %v after the check, want that it changes nobody's duty", a.Scope(), b.Scope())
		}
	})
}

func TestACheckSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name   string
		breaks func(*fakeEtcd)
		mend   func(*EtcdSettings)
		want   string // in the error
	}{
		{"no right to write", func(f *fakeEtcd) { f.denied = groupPrefix("office") + "check" }, nil, "a key below /crisp-status-local/v1/office/: etcd said"},
		{"no right at all", func(f *fakeEtcd) { f.denied = groupPrefix("office") }, nil, "permission denied"},
		{"no user named", func(f *fakeEtcd) { f.password = "secret" }, nil, "set user and password_file"},
		{"no space left", func(f *fakeEtcd) { f.full = true }, nil, "a lease: etcd said"},
		{"a wrong password", func(f *fakeEtcd) { f.password = "secret" }, func(s *EtcdSettings) {
			s.User, s.Password = "u", func() (string, error) { return "hunter2", nil }
		}, "correct user"},
	} {
		bubble(t, func(t *testing.T, f *fakeEtcd) {
			tt.breaks(f)
			_, err := newDaemon(t, "host-a", three(f), tt.mend).check(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: got %v, want an error with %q and no password", tt.name, err, tt.want)
			}
			if len(f.under("/")) > 0 || len(f.leases) > 0 {
				t.Errorf("%s: the check left the keys %q and %d leases behind, want none", tt.name, f.under("/"), len(f.leases))
			}
		})
	}
}

func TestACheckFindsAUserThatEtcdDoesNotAskFor(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		mend := func(s *EtcdSettings) { s.User, s.Password = "u", func() (string, error) { return "secret", nil } }
		for password, want := range map[string]bool{"": true, "secret": false} {
			f.password = password
			if found, err := newDaemon(t, "host-a", three(f), mend).check(t.Context()); err != nil || found.Userless != want {
				t.Errorf("got %+v and %v with the password %q, want that a user is named in vain: %v", found, err, password, want)
			}
		}
	})
}

func TestACheckNamesTheEndpointsThatAreSilent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		other := newFakeEtcd(t)
		other.cluster = "8"
		ways := map[string]http.Handler{"e1": answers(503, "text/html", "no"), "e2": f, "e3": answers(200, "text/html", "<html>"), "e4": other}
		found, err := newDaemon(t, "host-a", ways, nil).check(t.Context())
		if err != nil || found.Answering != 1 || len(found.Silent) != 1 || !strings.Contains(found.Silent[0], "http://e1") ||
			len(found.Misnamed) != 2 || !strings.Contains(found.Misnamed[0], "http://e3") || !strings.Contains(found.Misnamed[1], "http://e4") {
			t.Errorf("got %+v and %v, want by name an endpoint that is silent, and two that are none of this etcd", found, err)
		}
		delete(ways, "e2")
		delete(ways, "e4")
		if _, err := newDaemon(t, "host-a", ways, nil).check(t.Context()); err == nil || !strings.Contains(err.Error(), "http://e1") {
			t.Errorf("got %v where no endpoint answers, want why the first does not", err)
		}
	})
}

func TestACheckFindsAnotherPageNamesakesAndStrayKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		for range 2 {
			d := newDaemon(t, "host-a", three(f), nil).start()
			defer d.stop()
			wait(2 * time.Second)
		}
		found, err := newDaemon(t, "host-b", three(f), func(s *EtcdSettings) { s.Page = "another" }).check(t.Context())
		if err != nil || found.OtherPage != "host-a" || !slices.Equal(found.Namesakes, []string{"host-a"}) {
			t.Errorf("got %+v and %v, want that host-a is of another page, and twice there", found, err)
		}
	})
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		f.by(func() { f.put(groupPrefix("office")+"election/1", nil, 0) })
		found, err := newDaemon(t, "host-b", three(f), nil).check(t.Context())
		if err != nil || !strings.Contains(found.Stray, "etcdctl del") {
			t.Errorf("got %+v and %v, want the stray key and its cure", found, err)
		}
	})
}

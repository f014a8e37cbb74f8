package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/crisp-im/crisp-status-local/v2/internal/service"
)

// FuzzStatus holds whatever a daemon that is not to be trusted answers to the command status to
// this: what is shown has nothing that a terminal obeys, in text and in JSON.
func FuzzStatus(f *testing.F) {
	for _, seed := range []string{
		`{"version":"2.1.0","started":"2026-01-01T00:00:00Z","now":"2026-01-02T00:00:00Z","config":"/etc/x","counts":{"replicas":1,"dead":1},"replicas":[
			{"service":"s","node":"n","replica":"tcp://a:1","health":"dead","since":"2026-01-01T12:00:00Z","reason":"refused","reported":{"health":"dead","at":"2026-01-01T12:00:00Z","due":"2026-01-01T12:02:00Z"},
			"history":[{"at":"2026-01-01T12:00:00Z","health":"dead","latency_seconds":1e300,"attempts":-3}],"last_failure":{"at":"0001-01-01T00:00:00Z","reason":"x","attempts":[{}]}}]}`,
		`{"host":{"trouble":[{"reason":"\u001b[2J\u009b2J","replicas":-1}]},"api":{"state":"\u001b","error":"\u202e","map_error":"\u0085"},"cluster":{"engine":"etcd"},"promise":{"next_cycle":"9999-01-01T00:00:00Z"}}`,
		`{"version":"` + "\u009b2J\x9b\x7f" + `","replicas":null,"ignored":[{"entry":"\u0007","reason":"` + "\u202e" + `"}],"server":{"error":"\r\n"}}`,
		`null`, `[]`, `{`, ``,
	} {
		f.Add([]byte(seed))
	}
	forms := []statusFlags{{}, {all: true}, {dead: true}, {ignored: true}, {replicas: []string{"a"}}}
	screens := []screen{{}, {width: 40, height: 10}, {width: 120, height: 10}}
	f.Fuzz(func(t *testing.T, body []byte) {
		for i := range forms {
			o := &forms[i]
			snapshot, err := o.decode(body)
			if err != nil {
				continue
			}
			for _, s := range screens {
				text, err := o.show(statusView{screen: s, snapshot: snapshot, peer: service.Peer{PID: 1, UID: 1}})
				if err != nil {
					text = err.Error()
				}
				wantHarmless(t, text)
				firstLines(text, 5)
			}
		}
		if text, err := indented(body); err == nil {
			wantHarmless(t, text)
		}
	})
}

func wantHarmless(t *testing.T, text string) {
	t.Helper()
	for _, r := range strings.ToValidUTF8(text, "\x1b") {
		if unicode.IsControl(r) && r != '\n' || unicode.Is(unicode.Bidi_Control, r) {
			t.Fatalf("got %q in %q, want nothing that a terminal obeys", r, text)
		}
	}
}

// TestStatusAsJSONIsTheSame: what is escaped for a terminal means what it meant.
func TestStatusAsJSONIsTheSame(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"é\u001b"}`:                            "{\n  \"a\": \"é\\u001b\"\n}\n",
		"{\"a\":\"\u009b\x7f\u202e\U000e0001\xff\"}": "{\n  \"a\": \"\\u009b\\u007f\\u202e\\udb40\\udc01\ufffd\"\n}\n",
	} {
		got, err := indented([]byte(in))
		if err != nil || got != want {
			t.Errorf("got %q and the error %v, want %q", got, err, want)
		}
		var before, after any
		if json.Unmarshal([]byte(in), &before) != nil || json.Unmarshal([]byte(got), &after) != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("got %v, want %v", after, before)
		}
	}
}
